// Who runs what: every change of a job after its validation goes through here.
//
// A job is leased to (worker, incarnation) with a fence that grows with every claim. Synchronize renews leases, the
// sweeper takes back those that were not renewed. All clocks are the server's own.
#ifndef QUANTD_SERVER_SCHEDULER_SCHEDULER_H_
#define QUANTD_SERVER_SCHEDULER_SCHEDULER_H_

#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/held_names.h"
#include "quantd/v1/worker_service.pb.h"
#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/checkpoints.h"
#include "server/scheduler/notifier.h"
#include "server/scheduler/worker_registry.h"
#include "server/store/job_store.h"

namespace quantd {

struct SchedulerOptions {
  absl::Duration lease = absl::Seconds(15);
  int64_t max_queued_jobs = 100'000;  // 0: no limit
  absl::Duration retain_artifacts = absl::ZeroDuration();  // from publication to expire_time; 0: for ever
};

struct SchedulerServices {
  JobStore& store;
  ArtifactStore& artifacts;
  Clock& clock;
  ServiceMetrics& metrics;
};

// Thread-safe.
class Scheduler {
 public:
  Scheduler(SchedulerOptions options, SchedulerServices services);

  // Durable when it returns; waiting workers are woken. UNAVAILABLE DRAINING after Drain(); else as JobStore::Submit.
  absl::StatusOr<SubmitResult> Submit(const NewJob& job);

  // The job after the cancel: CANCELLED, CANCELLING, or as it was when terminal. Waits while its result is published.
  absl::StatusOr<JobRecord> Cancel(absl::string_view id);

  // One call of a worker. Waits at most request.poll_ms for something to tell it, a third of the lease while jobs run;
  // gives up early when `is_cancelled` says that the caller has gone.
  // INVALID_ARGUMENT SYNCHRONIZE_INVALID; ABORTED WORKER_REPLACED; UNAVAILABLE STORE_FAILED.
  absl::StatusOr<v1::SynchronizeResponse> Synchronize(const v1::SynchronizeRequest& request,
                                                      const std::function<bool()>& is_cancelled);

  // OK while the job is leased with this fence; ABORTED STALE_LEASE otherwise.
  absl::Status CheckLease(absl::string_view id, int64_t fence);

  // Takes back leases that have expired. Called regularly.
  absl::Status Sweep();

  // After a restart: each live lease gets a full period, since renewals could not reach a server that was away.
  absl::Status ExtendLeases();

  // After a restart: removes what ended attempts left in the staging area, and ended jobs as checkpoints, when the
  // server was killed.
  absl::Status DropLeftovers();

  // No more submissions and assignments; waiting workers are told.
  void Drain();
  bool draining() const { return draining_; }
  // Watches end too, last of all: a watcher that comes back must find a closed port, not a server about to close it.
  void EndWatches();
  bool watches_ended() const { return watches_ended_; }

  // Remarks on a queued job that no connected worker could run.
  std::vector<std::string> Conditions(const v1::QuantJob& job) const;

  // Of running jobs; the worker's own calls.
  Checkpoints& checkpoints() { return checkpoints_; }
  WorkerRegistry& workers() { return workers_; }
  // Notified with every change of any job.
  Notifier& changes() { return changes_; }

 private:
  class Call;  // one Synchronize
  static constexpr char kEndInProgress[] = "END_IN_PROGRESS";

  absl::StatusOr<JobRecord> Update(DurableStep step, absl::string_view id, const JobMutator& mutate);
  absl::Status LoseAttempts(const std::vector<JobRecord>& records, const std::string& cause);
  absl::Status LoseOne(const JobRecord& record, const std::string& cause);
  // A worker's result: published and recorded, or refused. UNAVAILABLE kEndInProgress: say it again.
  absl::Status Finish(const v1::FinishedJob& finished);
  absl::Status FinishSuccessfully(const v1::FinishedJob& finished);
  absl::Status RecordEnd(const v1::FinishedJob& finished);
  // Of an artifact that was just published.
  void SetExpiry(v1::QuantJob& job) const;
  absl::Status DropStaged(const JobRecord& after, int64_t fence);
  void CountEnd(const JobRecord& record, const char* attempt_result, const v1::QuantReport* report);
  void WakeWorkers();

  const SchedulerOptions options_;
  JobStore& store_;
  ArtifactStore& artifacts_;
  Clock& clock_;
  ServiceMetrics& metrics_;
  Checkpoints checkpoints_;
  WorkerRegistry workers_;
  // From the first file that is published to the row that says so, nobody else may end the job: its published files
  // would belong to nobody.
  HeldNames ending_;
  Notifier changes_;
  Notifier work_;  // something for workers: a queued job, a cancel, a drain
  std::atomic<bool> draining_{false};
  std::atomic<bool> watches_ended_{false};
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_SCHEDULER_H_
