// One assigned job on this worker, from scratch folder to finished report, in a thread of its own.
//
// The thread prepares the scratch folder, fetches the checkpoint that an earlier attempt left, spawns `quant run`,
// follows it and uploads what it commits on the way, uploads the artifact and removes the scratch folder again. It
// never throws the worker over: whatever goes wrong ends in the job's FinishedJob.
//
//   OUTCOME_FAILED    the same inputs would fail again: the child gave a reason, or its result cannot be published
//   OUTCOME_CRASHED   another attempt may work: the child died or gave no reason, or this host failed it
//   OUTCOME_RETURNED  a drain ended it
#ifndef QUANTD_WORKER_AGENT_JOB_RUNNER_H_
#define QUANTD_WORKER_AGENT_JOB_RUNNER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "core/base/file_system.h"
#include "core/objects/model_place.h"
#include "quantd/v1/worker_service.pb.h"
#include "worker/agent/checkpoint_upload.h"
#include "worker/agent/child_run.h"
#include "worker/agent/process.h"
#include "worker/agent/server_connection.h"

namespace quantd {

// The server takes messages of 16 MiB. Results keep clear of that: a request that is too long would fail for ever, and
// with it the leases that it renews.
inline constexpr size_t kMaxResultBytes = 12 << 20;

struct RunnerOptions {
  std::string quant_path = {};
  std::string model_root = {};
  ModelCache* model_cache = nullptr;  // of models in object stores; null: refused. Outlives the runner
  std::string data_root = {};
  std::string scratch_dir = {};                     // of this worker alone
  int threads = 1;                                  // of one child
  int64_t memory_limit_bytes = 0;                   // of one child's address space; 0: none
  absl::Duration grace = absl::Milliseconds(1500);  // from SIGTERM to SIGKILL
  // In a drain: from SIGTERM to the moment when nothing more is uploaded. The child gets half of it.
  absl::Duration drain_grace = absl::Seconds(10);
  absl::Duration last_upload = absl::Seconds(10);  // for the newest checkpoint of a child that crashed
};

// What a runner works with; all of it outlives the runner.
struct RunnerServices {
  ServerConnection& server;
  FileSystem& files;
  Spawner& spawner;
};

// Thread-safe.
class JobRunner {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Change { kProgress, kPhase, kEnd };

  // Starts at once. `on_change` is called from the runner's thread.
  JobRunner(const RunnerOptions& options, RunnerServices services, v1::Assignment assignment,
            std::function<void(Change)> on_change);
  JobRunner(const JobRunner&) = delete;
  JobRunner& operator=(const JobRunner&) = delete;
  // Stops as for a lost lease and waits for the end.
  ~JobRunner();

  const v1::Assignment& assignment() const { return assignment_; }

  // Ends child or upload. Returns at once; of several reasons the strongest counts. True when it was stronger than
  // those before.
  bool Stop(StopReason reason);

  // Stops a job that has run for longer than its run_timeout_ms.
  void EnforceRunDeadline(TimePoint now);

  // What the server is told while it runs.
  v1::RunningJob running() const;
  v1::JobProgress progress() const;
  bool ended() const;
  // What to tell the server, once ended; nothing after a lost lease.
  std::optional<v1::FinishedJob> result() const;

 private:
  using Result = std::optional<v1::FinishedJob>;

  void Main();
  Result Run();
  absl::Status Prepare();
  absl::Status PlaceModel();
  absl::Status FetchCheckpoint();
  absl::StatusOr<ChildEnd> RunChild(CheckpointUpload& upload);
  SpawnOptions ChildCommand() const;
  // Of a child that has ended.
  Result ResultOf(const ChildEnd& end, CheckpointUpload& upload);
  Result Crashed(const ChildEnd& end, CheckpointUpload& upload);
  Result Publish();
  Result Uploaded(v1::FinishedJob finished);
  // Of a job that was stopped.
  Result StoppedResult() const;
  bool IsStopped() const;
  v1::FinishedJob Finished(v1::FinishedJob::Outcome outcome) const;
  v1::FinishedJob Failed(const absl::Status& status) const;
  v1::FinishedJob OverDeadline() const;
  void ExplainKill(v1::JobError& error) const;
  StopReason stop_reason() const;
  void Observe(const ChildProcess& child);
  void SetProgress(const v1::JobProgress& progress);
  v1::JobActuals Actuals() const;

  const RunnerOptions& options_;
  const RunnerServices services_;
  const v1::Assignment assignment_;
  const std::function<void(Change)> on_change_;
  const std::string scratch_;
  const TimePoint started_at_;
  std::stop_source stop_;          // of uploads of the result: not requested by a drain
  std::stop_source before_child_;  // requested by every reason to stop
  ModelPlace model_;               // of the runner's thread

  // Of the runner's thread:
  v1::JobActuals actuals_;
  std::string warning_;                  // for the report: why the checkpoint was not used
  std::optional<int64_t> kills_before_;  // by the out-of-memory killer
  TimePoint observed_at_;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  StopReason stop_reason_ = StopReason::kNone;
  v1::JobProgress progress_;
  int64_t memory_bytes_ = 0;
  bool ended_ = false;
  Result result_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_JOB_RUNNER_H_
