// The worker: keeps in step with the server through Synchronize and runs one child for each assigned job.
//
//   Agent agent(options, {RealFileSystem(), RealSpawner()});
//   RETURN_IF_ERROR(agent.Run());   // until Drain(), called from another thread, has taken effect
//
// Rhythm: a long poll while idle; every third of the shortest lease while jobs run; at once when a job changes its
// phase or ends. A job whose lease was not renewed for 5/6 of its length, by this machine's steady clock, is ended
// before the server can give it to somebody else (self-fencing); it is not reported. Results are repeated until
// acknowledged. A worker on which several different jobs crashed in a row takes no work for a while (quarantine.h).
// While the server cannot be reached the worker tries again for ever, with growing pauses.
#ifndef QUANTD_WORKER_AGENT_AGENT_H_
#define QUANTD_WORKER_AGENT_AGENT_H_

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/file_system.h"
#include "quantd/v1/worker_service.pb.h"
#include "worker/agent/job_runner.h"
#include "worker/agent/job_table.h"
#include "worker/agent/process.h"
#include "worker/agent/quarantine.h"
#include "worker/agent/server_connection.h"

namespace quantd {

struct AgentOptions {
  std::string server = {};  // host:port
  std::string worker_id = {};
  int slots = 1;
  RunnerOptions runner = {};  // its scratch_dir must exist and belong to this worker alone
  absl::Duration idle_poll = absl::Seconds(20);
  absl::Duration progress_interval = absl::Milliseconds(500);  // news within a phase interrupt no more often
  absl::Duration max_backoff = absl::Seconds(5);
  absl::Duration drain_limit = absl::Seconds(10);  // beyond the drain grace, to tell the server
  QuarantineOptions quarantine = {};
};

struct AgentServices {
  FileSystem& files;
  Spawner& spawner;
};

class Agent {
 public:
  Agent(AgentOptions options, AgentServices services);
  ~Agent();

  // OK after a drain, even when the server could not be told (it finds out when the leases end). ABORTED
  // WORKER_REPLACED: another process took over the worker id, and with it the jobs, which are ended here.
  absl::Status Run();

  // Takes no more work, stops the children, uploads their last checkpoints and finished artifacts as far as the drain
  // grace allows, returns the other jobs, lets Run() return. Thread-safe.
  void Drain();

 private:
  using TimePoint = JobTable::TimePoint;

  struct Exchange {  // one call of Synchronize
    v1::SynchronizeRequest request;
    absl::Duration deadline;
    std::stop_token interrupted;  // by news of our own
    TimePoint sent_at;
  };

  Exchange NextExchange();
  absl::Duration Poll() const;
  absl::Duration Deadline(absl::Duration poll) const;
  void HandleResponse(const Exchange& exchange, const v1::SynchronizeResponse& response);
  // An error is final; what may pass is OK after a pause.
  absl::Status HandleFailure(const Exchange& exchange, const absl::Status& status);
  void Pause(absl::Duration duration, const std::stop_token& interrupted) const;
  bool DrainFinished();
  bool TakesWork() const;

  void OnChange(JobRunner::Change change);
  std::stop_token NewInterrupt();

  const AgentOptions options_;
  const std::string incarnation_;
  ServerConnection server_;
  std::atomic<bool> draining_{false};

  std::mutex mutex_;
  // Guarded by mutex_:
  std::stop_source interrupt_;
  TimePoint last_sent_;

  // The loop's own; jobs_ is last because its runners use all of the above:
  FileSystem& files_;
  absl::Duration backoff_;
  int failures_ = 0;        // calls without an answer, in a row
  int early_answers_ = 0;   // long polls answered at once with nothing new, in a row
  bool answer_now_ = true;  // the next call is not to be held: it tells or asks for something due
  bool drain_tried_ = false;
  std::optional<TimePoint> drain_uploads_until_;
  std::optional<TimePoint> drain_until_;
  Quarantine quarantine_;
  JobTable jobs_;
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_AGENT_H_
