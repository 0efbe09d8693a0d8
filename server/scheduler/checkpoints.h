// Checkpoints of running jobs: files in the artifact store, of which the job's row names the newest set.
//
// Order of a commit: the files, then the row in one fenced transaction, then the files that only the checkpoint before
// had are removed. A crash in between leaves files that nobody names: they go with the job's end.
#ifndef QUANTD_SERVER_SCHEDULER_CHECKPOINTS_H_
#define QUANTD_SERVER_SCHEDULER_CHECKPOINTS_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/clock.h"
#include "core/base/held_names.h"
#include "quantd/v1/worker_service.pb.h"
#include "server/artifacts/artifact_store.h"
#include "server/store/job_store.h"

namespace quantd {

// Thread-safe. Every call of a worker checks its fence: ABORTED STALE_LEASE.
class Checkpoints {
 public:
  // `on_change` is called after each job that a commit has changed.
  Checkpoints(JobStore& store, ArtifactStore& artifacts, Clock& clock,
              std::function<void(absl::string_view job)> on_change)
      : store_(store), artifacts_(artifacts), clock_(clock), on_change_(std::move(on_change)) {}

  // Makes uploaded files the job's newest checkpoint, durably. Errors of ArtifactStore::CommitCheckpoint.
  absl::Status Commit(const StagingKey& key, const v1::Checkpoint& checkpoint);

  absl::StatusOr<std::vector<std::string>> FilesMissing(const StagingKey& key, const v1::Checkpoint& checkpoint);

  struct File {
    v1::ArtifactFile description;
    std::unique_ptr<RandomAccessFile> bytes;
  };
  // One of the files of the job's newest checkpoint. NOT_FOUND CHECKPOINT_FILE_NOT_FOUND.
  absl::StatusOr<File> Open(const StagingKey& key, absl::string_view path);

  // Removes the files of a job that has ended. What a sick disk keeps is removed by DropLeftovers.
  void Drop(absl::string_view job);
  // After a restart: the same for all jobs that have ended, and for those that are not there any more.
  absl::Status DropLeftovers();

 private:
  absl::StatusOr<JobRecord> Leased(const StagingKey& key);
  absl::StatusOr<std::vector<std::string>> Record(const StagingKey& key, const v1::Checkpoint& checkpoint);
  absl::StatusOr<bool> IsOver(absl::string_view job);

  JobStore& store_;
  ArtifactStore& artifacts_;
  Clock& clock_;
  const std::function<void(absl::string_view job)> on_change_;
  HeldNames committing_;  // jobs, so that of two commits the files of neither are removed by the other
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_CHECKPOINTS_H_
