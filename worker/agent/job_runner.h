// One assigned job on this worker, from scratch folder to finished report, in a thread of its own.
//
// The thread prepares the scratch folder, spawns `quant run`, follows it, uploads the artifact and removes the scratch
// folder again. It never throws the worker over: whatever goes wrong ends in the job's FinishedJob.
#ifndef QUANTD_WORKER_AGENT_JOB_RUNNER_H_
#define QUANTD_WORKER_AGENT_JOB_RUNNER_H_

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
#include "quantd/v1/worker_service.pb.h"
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
  std::string data_root = {};
  std::string scratch_dir = {};    // of this worker alone
  int threads = 1;                 // of one child
  int64_t memory_limit_bytes = 0;  // of one child's address space; 0: none
  absl::Duration grace = absl::Milliseconds(1500);
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

  v1::JobProgress progress() const;
  bool ended() const;
  // What to tell the server, once ended; nothing after a lost lease.
  std::optional<v1::FinishedJob> result() const;

 private:
  void Main();
  std::optional<v1::FinishedJob> Run();
  absl::StatusOr<ChildEnd> RunChild();
  SpawnOptions ChildCommand() const;
  std::optional<v1::FinishedJob> Publish();
  std::optional<v1::FinishedJob> StoppedResult() const;
  v1::FinishedJob Finished(v1::FinishedJob::Outcome outcome) const;
  v1::FinishedJob Failed(const absl::Status& status) const;
  StopReason stop_reason() const;
  void SetProgress(const v1::JobProgress& progress);

  const RunnerOptions& options_;
  const RunnerServices services_;
  const v1::Assignment assignment_;
  const std::function<void(Change)> on_change_;
  const std::string scratch_;
  std::stop_source stop_;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  StopReason stop_reason_ = StopReason::kNone;
  v1::JobProgress progress_;
  bool ended_ = false;
  std::optional<v1::FinishedJob> result_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_JOB_RUNNER_H_
