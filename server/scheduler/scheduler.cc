#include "server/scheduler/scheduler.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/scheduler/transitions.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

using v1::FinishedJob;
using v1::QuantJob;

// Shorter leases (tests) must not make a worker look away between two calls on a busy machine.
constexpr absl::Duration kShortestConnectedFor = absl::Seconds(5);

// How the attempt ended, by what the worker said; a cancelled job's attempt was cancelled whatever it said.
const char* AttemptResult(const JobRecord& after, FinishedJob::Outcome outcome) {
  if (after.job.state() == QuantJob::CANCELLED) return "cancelled";
  switch (outcome) {
    case FinishedJob::OUTCOME_SUCCEEDED:
      return "finished";
    case FinishedJob::OUTCOME_RETURNED:
      return "returned";
    default:
      return "failed";
  }
}

// The commit that records it.
DurableStep StepOf(FinishedJob::Outcome outcome) {
  switch (outcome) {
    case FinishedJob::OUTCOME_SUCCEEDED:
      return DurableStep::kPublish;
    case FinishedJob::OUTCOME_FAILED:
      return DurableStep::kFail;
    case FinishedJob::OUTCOME_CANCELLED:
      return DurableStep::kCancelConfirm;
    default:
      return DurableStep::kRequeue;
  }
}

// Errors of a publish that no repetition would cure.
bool IsPermanent(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInvalidArgument ||
         status.code() == absl::StatusCode::kFailedPrecondition || status.code() == absl::StatusCode::kDataLoss;
}

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, SchedulerServices services)
    : options_(options),
      store_(services.store),
      artifacts_(services.artifacts),
      clock_(services.clock),
      metrics_(services.metrics),
      checkpoints_(services.store, services.artifacts, services.clock, [this] { changes_.Notify(); }),
      workers_(services.clock, std::max(options.lease, kShortestConnectedFor)) {}

absl::StatusOr<SubmitResult> Scheduler::Submit(const NewJob& job) {
  if (draining_) {
    return ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                       "the server is shutting down; retry with the same request_id");
  }
  ASSIGN_OR_RETURN(SubmitResult result, store_.Submit(job, {.max_queued = options_.max_queued_jobs}));
  if (!result.duplicate) {
    changes_.Notify();
    WakeWorkers();
  }
  return result;
}

absl::StatusOr<JobRecord> Scheduler::Cancel(absl::string_view id) {
  const HeldNames::Hold hold = ending_.Take(id);
  auto cancelled =
      Update(DurableStep::kCancel, id, [&](JobRecord& record) { return RequestCancel(record, clock_.Now()); });
  if (ReasonOf(cancelled.status()) == "NOTHING_TO_CANCEL") return store_.Get(id);
  RETURN_IF_ERROR(cancelled.status());
  if (cancelled->job.state() == QuantJob::CANCELLED) {
    CountFinishedJob(metrics_, cancelled->job, nullptr);
    checkpoints_.Drop(cancelled->id);
  }
  WakeWorkers();
  return cancelled;
}

absl::Status Scheduler::CheckLease(absl::string_view id, int64_t fence) {
  ASSIGN_OR_RETURN(const JobRecord record, store_.Get(id));
  const absl::Status status = CheckFence(record, fence);
  if (!status.ok()) metrics_.Increment(Metric::kFenceRejections);
  return status;
}

absl::Status Scheduler::Sweep() {
  ASSIGN_OR_RETURN(std::vector<JobRecord> leased, store_.Leased(""));
  const absl::Time now = clock_.Now();
  leased.erase(std::remove_if(leased.begin(), leased.end(),
                              [&](const JobRecord& record) { return record.lease_deadline > now; }),
               leased.end());
  RETURN_IF_ERROR(LoseAttempts(leased, "did not renew its lease"));
  metrics_.Set(Metric::kSweepLastSuccess, absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  ASSIGN_OR_RETURN(const QueueSummary queue, store_.SummarizeQueue());
  // Jobs whose pause after a lost attempt is over; nobody else tells the waiting workers.
  if (!queue.waiting_by_device.empty()) WakeWorkers();
  return absl::OkStatus();
}

absl::Status Scheduler::ExtendLeases() {
  ASSIGN_OR_RETURN(const std::vector<JobRecord> leased, store_.Leased(""));
  for (const JobRecord& record : leased) {
    const auto extend = [&](JobRecord& current) {
      current.lease_deadline = clock_.Now() + options_.lease;
      return CheckFence(current, record.fence);
    };
    RETURN_IF_ERROR(Update(DurableStep::kRenew, record.id, extend).status());
  }
  return absl::OkStatus();
}

absl::Status Scheduler::DropLeftovers() {
  const auto live = [&]() -> absl::StatusOr<std::vector<StagingKey>> {
    ASSIGN_OR_RETURN(const std::vector<JobRecord> leased, store_.Leased(""));
    std::vector<StagingKey> attempts;
    for (const JobRecord& record : leased) attempts.push_back({record.id, record.fence});
    return attempts;
  };
  RETURN_IF_ERROR(artifacts_.KeepStaging(live));
  return checkpoints_.DropLeftovers();
}

void Scheduler::Drain() {
  draining_ = true;
  WakeWorkers();
}

void Scheduler::EndWatches() {
  watches_ended_ = true;
  changes_.Notify();
}

std::vector<std::string> Scheduler::Conditions(const QuantJob& job) const {
  if (job.state() != QuantJob::QUEUED) return {};
  const WorkerSummary workers = workers_.Summarize();
  const std::string device = DeviceOf(job.spec());
  if (workers.connected == 0) return {"no worker is connected"};
  if (device == "auto" && !workers.devices.empty()) return {};
  if (std::find(workers.devices.begin(), workers.devices.end(), device) != workers.devices.end()) return {};
  return {absl::StrCat("no registered worker has device ", device)};
}

absl::StatusOr<JobRecord> Scheduler::Update(DurableStep step, absl::string_view id, const JobMutator& mutate) {
  ASSIGN_OR_RETURN(JobRecord record, store_.Update(step, id, mutate));
  changes_.Notify();
  return record;
}

absl::Status Scheduler::LoseAttempts(const std::vector<JobRecord>& records, const std::string& cause) {
  absl::Status first_error;
  for (const JobRecord& record : records) {
    const absl::Status status = LoseOne(record, absl::StrCat("worker ", record.job.worker(), " ", cause));
    // Somebody else was first (a renewal, a result that is being published): then the lease is not expired any more.
    if (status.code() == absl::StatusCode::kAborted) continue;
    first_error.Update(status);
  }
  return first_error;
}

absl::Status Scheduler::LoseOne(const JobRecord& record, const std::string& cause) {
  const HeldNames::Hold hold = ending_.TryTake(record.id);
  if (hold == nullptr) return absl::AbortedError("its end is being recorded");
  const auto lose = [&](JobRecord& current) -> absl::Status {
    RETURN_IF_ERROR(CheckFence(current, record.fence));
    if (current.lease_deadline != record.lease_deadline) return absl::AbortedError("renewed meanwhile");
    return LoseAttempt(current, cause, clock_.Now());
  };
  ASSIGN_OR_RETURN(const JobRecord after, Update(DurableStep::kRequeue, record.id, lose));
  Log(Severity::kWarning, "lease_lost",
      {{"job", record.id}, {"fence", absl::StrCat(record.fence)}, {"state", StateName(after.job.state())}}, cause);
  if (record.lease_deadline <= clock_.Now()) metrics_.Increment(Metric::kLeaseExpirations);
  CountEnd(after, after.job.state() == QuantJob::CANCELLED ? "cancelled" : "expired", nullptr);
  return DropStaged(after, record.fence);
}

absl::Status Scheduler::Finish(const FinishedJob& finished) {
  const HeldNames::Hold hold = ending_.TryTake(finished.job());
  if (hold == nullptr) {
    return ReasonError(absl::StatusCode::kUnavailable, kEndInProgress, "another call is recording the job's end");
  }
  if (finished.outcome() != FinishedJob::OUTCOME_SUCCEEDED) return RecordEnd(finished);
  RETURN_IF_ERROR(CheckLease(finished.job(), finished.fence()));
  ASSIGN_OR_RETURN(const JobRecord record, store_.Get(finished.job()));
  // Nothing of a cancelled job is published; the state stays as it is while the job is held.
  return record.job.state() == QuantJob::CANCELLING ? RecordEnd(finished) : FinishSuccessfully(finished);
}

absl::Status Scheduler::FinishSuccessfully(const FinishedJob& finished) {
  const absl::Status published = artifacts_.Publish({finished.job(), finished.fence()}, finished.artifact());
  if (published.ok()) return RecordEnd(finished);
  if (!IsPermanent(published)) return published;
  FinishedJob failed = finished;
  failed.set_outcome(FinishedJob::OUTCOME_FAILED);
  failed.clear_report();
  failed.mutable_error()->set_reason(ReasonOf(published));
  failed.mutable_error()->set_message(std::string(published.message()));
  failed.mutable_error()->set_phase("publish");
  return RecordEnd(failed);
}

absl::Status Scheduler::RecordEnd(const FinishedJob& finished) {
  const auto end = [&](JobRecord& record) -> absl::Status {
    RETURN_IF_ERROR(EndAttempt(record, finished, clock_.Now()));
    SetExpiry(record.job);
    return absl::OkStatus();
  };
  const bool with_report = finished.outcome() == FinishedJob::OUTCOME_SUCCEEDED && finished.has_report();
  const DurableStep step = StepOf(finished.outcome());
  const auto result = with_report ? store_.UpdateWithReport(step, finished.job(), finished.report(), end)
                                  : store_.Update(step, finished.job(), end);
  if (ReasonOf(result.status()) == "STALE_LEASE") metrics_.Increment(Metric::kFenceRejections);
  RETURN_IF_ERROR(result.status());
  changes_.Notify();
  CountEnd(*result, AttemptResult(*result, finished.outcome()), with_report ? &finished.report() : nullptr);
  if (result->job.state() == QuantJob::QUEUED) WakeWorkers();
  Log(Severity::kInfo, "attempt_ended",
      {{"job", result->id}, {"worker", result->job.worker()}, {"state", StateName(result->job.state())}});
  return DropStaged(*result, finished.fence());
}

void Scheduler::SetExpiry(QuantJob& job) const {
  if (!job.has_artifact() || options_.retain_artifacts <= absl::ZeroDuration()) return;
  SetTimestamp(clock_.Now() + options_.retain_artifacts, job.mutable_artifact()->mutable_expire_time());
}

// What the attempt staged, or with a job that has ended what all of them did.
absl::Status Scheduler::DropStaged(const JobRecord& after, int64_t fence) {
  if (!IsTerminal(after.job.state())) return artifacts_.DropStaging({after.id, fence});
  checkpoints_.Drop(after.id);
  return artifacts_.DropStaging({after.id, 0});
}

void Scheduler::CountEnd(const JobRecord& record, const char* attempt_result, const v1::QuantReport* report) {
  metrics_.Increment(Metric::kJobAttempts, {attempt_result});
  const bool cancelled = record.job.state() == QuantJob::CANCELLED;
  if (IsTerminal(record.job.state())) CountFinishedJob(metrics_, record.job, cancelled ? nullptr : report);
}

void Scheduler::WakeWorkers() {
  work_.Notify();
}

}  // namespace quantd
