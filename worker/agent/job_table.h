// The jobs of a worker: which run, which have ended and wait for the server to take note, and whose lease is about to
// end.
//
// Thread-compatible: it belongs to the agent's loop. Jobs are told apart by name and fence.
#ifndef QUANTD_WORKER_AGENT_JOB_TABLE_H_
#define QUANTD_WORKER_AGENT_JOB_TABLE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "quantd/v1/worker_service.pb.h"
#include "worker/agent/job_runner.h"

namespace quantd {

class JobTable {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // At most `slots` jobs run at once. `on_change` is called from the runners' threads.
  JobTable(const RunnerOptions& options, RunnerServices services, int slots,
           std::function<void(JobRunner::Change)> on_change);
  // Told of each job that has ended with a lease of ours.
  void set_on_result(std::function<void(const v1::FinishedJob&)> on_result) { on_result_ = std::move(on_result); }

  // Moves jobs that have ended to the results; ends those that were not renewed for 5/6 of their lease.
  void Update(TimePoint now);

  // Adds running jobs to a request, and as many results as the server takes in one.
  void Report(v1::SynchronizeRequest& request) const;
  // The server has answered `request`, which was sent at `sent_at`: its leases count from then.
  void Renew(const v1::SynchronizeRequest& request, TimePoint sent_at);
  // Does what the server asks for; true when any of it was new. An assignment beyond the slots is given back, and so is
  // each while the worker does not take work (it drains, or is in quarantine).
  bool Apply(const v1::SynchronizeResponse& response, bool takes_work);
  void StopAll(StopReason reason);

  // Jobs that run with a lease of ours.
  bool any_running() const;
  // No process and no upload is left, whoever holds the lease.
  bool all_ended() const { return jobs_.empty(); }
  bool all_acknowledged() const { return results_.empty(); }
  // Of the running jobs; infinite when there are none.
  absl::Duration ShortestLease() const;
  absl::Duration UntilFence(TimePoint now) const;

 private:
  struct Job {
    std::unique_ptr<JobRunner> runner;
    absl::Duration lease;
    TimePoint renewed_at;
    bool lost = false;  // the lease is gone: it is ending and not ours to speak of

    bool Is(const std::string& job, int64_t fence) const;
    TimePoint fence_at() const;
  };

  bool Start(const v1::Assignment& assignment, bool takes_work);
  bool Cancel(const v1::JobFence& which);
  bool Abandon(const v1::JobFence& which);
  bool Forget(const v1::JobFence& which);
  void Lose(Job& job, absl::string_view why);
  void AddResult(const std::string& job, int64_t fence, v1::FinishedJob::Outcome outcome);
  Job* Find(const std::string& job, int64_t fence);
  bool HasResult(const std::string& job, int64_t fence) const;
  int running_count() const;

  const RunnerOptions& options_;
  const RunnerServices services_;
  const int slots_;
  const std::function<void(JobRunner::Change)> on_change_;
  std::function<void(const v1::FinishedJob&)> on_result_;
  std::list<Job> jobs_;
  std::list<v1::FinishedJob> results_;
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_JOB_TABLE_H_
