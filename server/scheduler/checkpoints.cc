#include "server/scheduler/checkpoints.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/durable_step.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/scheduler/transitions.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

// Digests of the files that `before` has and `after` has not.
std::vector<std::string> Replaced(const v1::Checkpoint& before, const v1::Checkpoint& after) {
  std::set<std::string> replaced;
  for (const v1::ArtifactFile& file : before.files()) replaced.insert(file.sha256());
  for (const v1::ArtifactFile& file : after.files()) replaced.erase(file.sha256());
  return {replaced.begin(), replaced.end()};
}

int64_t SizeOf(const v1::Checkpoint& checkpoint) {
  int64_t size_bytes = 0;
  for (const v1::ArtifactFile& file : checkpoint.files()) size_bytes += file.size_bytes();
  return size_bytes;
}

void LogIfKept(absl::string_view job, const absl::Status& removed) {
  if (removed.ok()) return;
  Log(Severity::kWarning, "checkpoint_not_removed", {{"job", std::string(job)}, {"reason", ReasonOf(removed)}},
      removed.message());
}

}  // namespace

void Checkpoints::Drop(absl::string_view job) {
  LogIfKept(job, artifacts_.DropCheckpoint(job));
}

absl::StatusOr<JobRecord> Checkpoints::Leased(const StagingKey& key) {
  ASSIGN_OR_RETURN(JobRecord record, store_.Get(key.job));
  RETURN_IF_ERROR(CheckFence(record, key.fence));
  return record;
}

absl::StatusOr<std::vector<std::string>> Checkpoints::FilesMissing(const StagingKey& key,
                                                                   const v1::Checkpoint& checkpoint) {
  RETURN_IF_ERROR(Leased(key).status());
  return artifacts_.CheckpointFilesMissing(key, checkpoint);
}

absl::Status Checkpoints::Commit(const StagingKey& key, const v1::Checkpoint& checkpoint) {
  const HeldNames::Hold hold = committing_.Take(key.job);
  RETURN_IF_ERROR(Leased(key).status());
  RETURN_IF_ERROR(artifacts_.CommitCheckpoint(key, checkpoint));
  const absl::StatusOr<std::vector<std::string>> replaced = Record(key, checkpoint);
  if (!replaced.ok()) {
    // The job may have ended, and lost its files, between the first check and here.
    const absl::StatusOr<bool> over = IsOver(key.job);
    if (over.ok() && *over) Drop(key.job);
    return replaced.status();
  }
  on_change_(key.job);
  LogIfKept(key.job, artifacts_.RemoveCheckpointFiles(key.job, *replaced));
  return absl::OkStatus();
}

// What it replaced.
absl::StatusOr<std::vector<std::string>> Checkpoints::Record(const StagingKey& key, const v1::Checkpoint& checkpoint) {
  std::vector<std::string> replaced;
  const auto record_newest = [&](JobRecord& record) -> absl::Status {
    RETURN_IF_ERROR(CheckFence(record, key.fence));
    replaced = Replaced(record.checkpoint.value_or(v1::Checkpoint()), checkpoint);
    record.checkpoint = checkpoint;
    v1::CheckpointSummary& summary = *record.checkpoint->mutable_summary();
    SetTimestamp(clock_.Now(), summary.mutable_commit_time());
    summary.set_attempt(record.job.attempt());
    summary.set_size_bytes(SizeOf(checkpoint));
    record.audit = {.actor = absl::StrCat("worker:", record.job.worker()),
                    .action = "checkpoint",
                    .detail = absl::StrFormat("block %d", summary.block())};
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(store_.Update(DurableStep::kCheckpointRecord, key.job, record_newest).status());
  return replaced;
}

absl::StatusOr<Checkpoints::File> Checkpoints::Open(const StagingKey& key, absl::string_view path) {
  ASSIGN_OR_RETURN(const JobRecord record, Leased(key));
  const v1::Checkpoint newest = record.checkpoint.value_or(v1::Checkpoint());
  for (const v1::ArtifactFile& file : newest.files()) {
    if (file.path() != path) continue;
    ASSIGN_OR_RETURN(auto bytes, artifacts_.OpenCheckpointFile(key.job, file.sha256()));
    return File{file, std::move(bytes)};
  }
  return WithField(
      ReasonError(absl::StatusCode::kNotFound, "CHECKPOINT_FILE_NOT_FOUND",
                  absl::StrFormat("the newest checkpoint of job %s has no file '%.200s'; begin without a checkpoint",
                                  key.job, path)),
      "path");
}

absl::StatusOr<bool> Checkpoints::IsOver(absl::string_view job) {
  const absl::StatusOr<JobRecord> record = store_.Get(job);
  if (ReasonOf(record.status()) == "JOB_NOT_FOUND") return true;
  RETURN_IF_ERROR(record.status());
  return IsTerminal(record->job.state());
}

absl::Status Checkpoints::DropLeftovers() {
  ASSIGN_OR_RETURN(const std::vector<std::string> jobs, artifacts_.CheckpointedJobs());
  for (const std::string& job : jobs) {
    ASSIGN_OR_RETURN(const bool over, IsOver(job));
    if (over) Drop(job);
  }
  return absl::OkStatus();
}

}  // namespace quantd
