// Who runs what: every change of a job after its validation goes through here.
//
// A job is leased to (worker, incarnation) with a fence that grows with every claim. Synchronize renews leases, the
// sweeper takes back those that were not renewed. Leases and deadlines are judged by the store's clock, which is the
// same for every server on it. docs/scheduling.md says in which order jobs start.
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
#include "server/config/tenants.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/admission.h"
#include "server/scheduler/checkpoints.h"
#include "server/scheduler/job_news.h"
#include "server/scheduler/room_keeper.h"
#include "server/scheduler/run_times.h"
#include "server/scheduler/transitions.h"
#include "server/scheduler/waiting_workers.h"
#include "server/scheduler/worker_registry.h"
#include "server/store/job_store.h"

namespace quantd {

struct SchedulerOptions {
  absl::Duration lease = absl::Seconds(15);
  int64_t max_queued_jobs = 100'000;                       // 0: no limit
  absl::Duration retain_artifacts = absl::ZeroDuration();  // from publication to expire_time; 0: for ever
  // Waiting so long is worth one step of priority.
  absl::Duration ageing = absl::Minutes(10);
  RequeuePolicy retry = {};
  // Of a worker whose children die on job after job; doubled each time.
  absl::Duration quarantine = absl::Seconds(30);
  // Other servers on the store have workers of their own, of which this one knows nothing.
  bool has_other_servers = false;
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

  // Whether the tenant may submit now: UNAVAILABLE DRAINING after Drain(), else see Admission::Check. Before checks of
  // the job that cost; takes one submission off the tenant's rate.
  absl::Status Admit(absl::string_view tenant);
  // Durable when it returns; a waiting worker is woken. As JobStore::Submit, with the limits of the job's tenant. What
  // was admitted is submitted although Drain() has been called since.
  absl::StatusOr<SubmitResult> Submit(NewJob job);

  // The job after the cancel: CANCELLED, CANCELLING, or as it was when terminal. Waits while its result is published.
  absl::StatusOr<JobRecord> Cancel(absl::string_view id, const std::string& actor = "");

  // One call of a worker. Waits at most request.poll_ms for something to tell it, a third of the lease while jobs run;
  // gives up early when `is_cancelled` says that the caller has gone.
  // INVALID_ARGUMENT SYNCHRONIZE_INVALID; ABORTED WORKER_REPLACED; UNAVAILABLE STORE_FAILED.
  absl::StatusOr<v1::SynchronizeResponse> Synchronize(const v1::SynchronizeRequest& request,
                                                      const std::function<bool()>& is_cancelled);

  // OK while the job is leased with this fence; ABORTED STALE_LEASE otherwise.
  absl::Status CheckLease(absl::string_view id, int64_t fence);

  // Takes back leases that have expired and fails jobs whose deadline has passed. Called regularly.
  absl::Status Sweep();
  // When that was last done without an error; at first the time of construction.
  absl::Time last_sweep() const { return absl::FromUnixMicros(last_sweep_us_); }

  // After a restart: each live lease gets a full period, since renewals could not reach a server that was away.
  absl::Status ExtendLeases();

  // For a store with several servers, instead: this one takes no lease back before a full period from now. Called at
  // its start, and while the store cannot be reached: workers could not renew either.
  void SpareLeases();

  // After a restart: removes what ended attempts left in the staging area, and ended jobs as checkpoints, when the
  // server was killed.
  absl::Status DropLeftovers();

  // No more submissions and assignments; waiting workers are told.
  void Drain();
  bool draining() const { return draining_; }
  // Watches end too, last of all: a watcher that comes back must find a closed port, not a server about to close it.
  void EndWatches();
  bool watches_ended() const { return watches_ended_; }

  // Another server on the same store has changed jobs.
  void JobsChangedElsewhere();

  // Remarks on a queued job that no connected worker could run, or that none takes for now. With other servers on the
  // store they say that they tell of this one's workers alone.
  std::vector<std::string> Conditions(const v1::QuantJob& job) const;

  // Fills in run_seconds, by the jobs that have ended.
  void EstimateTime(const v1::QuantJobSpec& spec, v1::JobEstimate& estimate) const {
    estimate.set_run_seconds(run_times_.Estimate(spec, estimate));
  }
  // At the start, from the jobs of the store.
  absl::Status LearnRunTimes() { return run_times_.LearnFrom(store_); }

  // Weights and limits, from now on.
  void SetTenants(TenantTable tenants) { admission_.SetTenants(std::move(tenants)); }

  // Of running jobs; the worker's own calls.
  Checkpoints& checkpoints() { return checkpoints_; }
  WorkerRegistry& workers() { return workers_; }
  // Whether a worker that is not connected here may be connected elsewhere.
  bool has_other_servers() const { return options_.has_other_servers; }
  // Told of every change of any job.
  JobNews& news() { return news_; }

 private:
  class Call;  // one Synchronize
  static constexpr char kEndInProgress[] = "END_IN_PROGRESS";

  absl::StatusOr<JobRecord> Update(DurableStep step, absl::string_view id, const JobMutator& mutate);
  // The number of attempts that were lost; those that others ended or renewed meanwhile do not count.
  absl::StatusOr<int> LoseAttempts(const std::vector<JobRecord>& records, const std::string& cause);
  absl::Status LoseOne(const JobRecord& record, const std::string& cause);
  absl::Status SweepLeases(absl::Time now);
  absl::Status SweepDeadlines(absl::Time now);
  // Wakes the waiting workers, one after the other, when jobs are queued.
  absl::Status LookForWaitingJobs();
  // Wakes all waiting workers when some job is being cancelled, for it may be theirs.
  absl::Status LookForCancelledJobs();
  absl::Status FailOne(const JobRecord& record, absl::Time now);
  // A worker's result: published and recorded, or refused. UNAVAILABLE kEndInProgress: say it again.
  absl::Status Finish(const v1::FinishedJob& finished);
  absl::Status FinishSuccessfully(const v1::FinishedJob& finished);
  // Renews the lease for as long as it takes.
  absl::Status Publish(const v1::FinishedJob& finished);
  absl::Status RecordEnd(const v1::FinishedJob& finished);
  // Of an artifact that was just published.
  void SetExpiry(v1::QuantJob& job) const;
  // What the end of a child says about its worker.
  void JudgeWorker(const JobRecord& after, v1::FinishedJob::Outcome outcome);
  absl::Status DropStaged(const JobRecord& after, int64_t fence);
  void CountEnd(const JobRecord& record, const char* attempt_result, const v1::QuantReport* report);
  // A lease has ended: the job may be claimable again, and another of its tenant now too.
  void AnnounceEnd(const JobRecord& after);

  const SchedulerOptions options_;
  JobStore& store_;
  ArtifactStore& artifacts_;
  Clock& clock_;
  ServiceMetrics& metrics_;
  Checkpoints checkpoints_;
  Admission admission_;
  WorkerRegistry workers_;
  WaitingWorkers waiting_;
  RoomKeeper rooms_;
  // From the first file that is published to the row that says so, nobody else may end the job: its published files
  // would belong to nobody.
  HeldNames ending_;
  JobNews news_;
  RunTimes run_times_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> watches_ended_{false};
  std::atomic<int64_t> last_sweep_us_;
  std::atomic<int64_t> spared_until_us_{0};  // by the store's clock
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_SCHEDULER_H_
