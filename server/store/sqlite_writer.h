// The one connection that writes: batches of transactions under one commit, and checkpoints of the log between them.
#ifndef QUANTD_SERVER_STORE_SQLITE_WRITER_H_
#define QUANTD_SERVER_STORE_SQLITE_WRITER_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/store/group_commit.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

// Not thread-safe but for writable(): GroupCommit sees to one user at a time.
class SqliteWriter {
 public:
  // `on_commit`: see SqliteOptions.
  SqliteWriter(std::unique_ptr<SqliteConnection> connection, std::function<void(double, int)> on_commit);
  SqliteWriter(const SqliteWriter&) = delete;
  SqliteWriter& operator=(const SqliteWriter&) = delete;

  // Runs every body in a savepoint of its own; one that fails is undone alone. One commit for the others: when it fails
  // none of them has happened.
  void Commit(const GroupCommit::Batch& batch);

  // Moves the log into the file once it is long.
  void Checkpoint();

  bool writable() const { return writable_; }

 private:
  static int OnCommittedFrames(void* writer, sqlite3* handle, const char* database, int frames);
  absl::Status RunBatch(const GroupCommit::Batch& batch);
  absl::Status RunBody(const SqlBody& body, bool alone);
  void StopWriting(const absl::Status& status);

  const std::unique_ptr<SqliteConnection> connection_;
  const std::function<void(double, int)> on_commit_;
  int log_frames_ = 0;
  std::atomic<bool> writable_{true};
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_WRITER_H_
