#include "server/store/sqlite_writer.h"

#include <sqlite3.h>

#include <algorithm>
#include <utility>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// Pages of 4 KiB. A checkpoint makes writers wait while it syncs twice, so it should be rare; the log should stay small
// enough to be read again quickly after a crash.
constexpr int kCheckpointFrames = 4'000;
// Readers that overlap keep the log from starting again at its beginning. When it is so long they are waited for.
constexpr int kRestartFrames = 8 * kCheckpointFrames;

absl::Status WritesRefused() {
  return ReasonError(absl::StatusCode::kUnavailable, "STORE_FAILED",
                     "an earlier write to the job database failed; check the disk, then restart quantd");
}

}  // namespace

SqliteWriter::SqliteWriter(std::unique_ptr<SqliteConnection> connection, std::function<void(double, int)> on_commit)
    : connection_(std::move(connection)), on_commit_(std::move(on_commit)) {
  sqlite3_wal_hook(connection_->handle(), &OnCommittedFrames, this);
}

int SqliteWriter::OnCommittedFrames(void* writer, sqlite3* /*handle*/, const char* /*database*/, int frames) {
  static_cast<SqliteWriter*>(writer)->log_frames_ = frames;
  return SQLITE_OK;
}

void SqliteWriter::Commit(const GroupCommit::Batch& batch) {
  const absl::Time begin = RealClock().Now();
  const absl::Status status = writable_ ? RunBatch(batch) : WritesRefused();
  if (!status.ok()) {
    if (connection_->in_transaction()) (void)connection_->Execute("ROLLBACK");
    if (writable_ && connection_->failed()) StopWriting(status);
    for (PendingWrite* write : batch) write->status.Update(status);
    return;
  }
  const auto written = std::count_if(batch.begin(), batch.end(), [](const PendingWrite* w) { return w->status.ok(); });
  if (written > 0 && on_commit_) {
    on_commit_(absl::ToDoubleSeconds(RealClock().Now() - begin), static_cast<int>(written));
  }
}

absl::Status SqliteWriter::RunBatch(const GroupCommit::Batch& batch) {
  RETURN_IF_ERROR(connection_->Prepare("BEGIN IMMEDIATE")->Run());
  for (PendingWrite* write : batch) {
    write->status = RunBody(*write->body, /*alone=*/batch.size() == 1);
    // Some failures make SQLite undo the whole transaction.
    if (!connection_->in_transaction() || connection_->failed()) return write->status;
  }
  const bool nothing = batch.size() == 1 && !batch.front()->status.ok();
  // Durable step: the caller's.
  return connection_->Prepare(nothing ? "ROLLBACK" : "COMMIT")->Run();
}

absl::Status SqliteWriter::RunBody(const SqlBody& body, bool alone) {
  if (alone) return body(*connection_);
  RETURN_IF_ERROR(connection_->Prepare("SAVEPOINT body")->Run());
  const absl::Status status = body(*connection_);
  if (!connection_->in_transaction()) return status;
  if (!status.ok()) RETURN_IF_ERROR(connection_->Prepare("ROLLBACK TO body")->Run());
  RETURN_IF_ERROR(connection_->Prepare("RELEASE body")->Run());
  return status;
}

void SqliteWriter::Checkpoint() {
  if (!writable_ || log_frames_ < kCheckpointFrames) return;
  const int mode = log_frames_ < kRestartFrames ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
  const int code = sqlite3_wal_checkpoint_v2(connection_->handle(), nullptr, mode, nullptr, nullptr);
  if (code == SQLITE_OK || code == SQLITE_BUSY) return;
  // The log still has everything; but a sync that failed once may succeed the next time without having been done.
  const absl::Status status = connection_->StatusOf(code);
  if (connection_->failed()) StopWriting(status);
}

void SqliteWriter::StopWriting(const absl::Status& status) {
  // Nobody knows which pages reached the disk: the log is only trusted again when it has been recovered.
  writable_ = false;
  // Closing would copy the log into the file.
  sqlite3_db_config(connection_->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  Log(Severity::kError, "store_failed", {{"reason", ReasonOf(status)}}, status.message());
}

}  // namespace quantd
