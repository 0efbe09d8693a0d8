#include "server/scheduler/scheduler.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/logging.h"
#include "core/base/repeater.h"
#include "core/base/status.h"
#include "server/scheduler/job_picker.h"
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
    case FinishedJob::OUTCOME_CRASHED:
      return "crashed";
    default:
      return "failed";
  }
}

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

// How far the plan was off. What was not estimated or not measured is 0.
void CountEstimate(ServiceMetrics& metrics, const QuantJob& job) {
  const auto observe = [&](const char* what, double actual, double estimate) {
    if (actual > 0 && estimate > 0) metrics.Observe(Metric::kJobEstimateRatio, actual / estimate, {what});
  };
  const v1::JobActuals& actuals = job.actuals();
  observe("memory", static_cast<double>(actuals.peak_memory_bytes()),
          static_cast<double>(job.estimate().peak_memory_bytes()));
  observe("disk", static_cast<double>(actuals.disk_bytes()), static_cast<double>(job.estimate().disk_bytes()));
  // The rest of a job that went on from a checkpoint says nothing of the whole.
  if (actuals.resumed_from_block() == 0) observe("time", actuals.run_seconds(), job.estimate().run_seconds());
}

constexpr char kAtThisServer[] = " (at this server; others on the store may have workers that it does not know)";

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
      checkpoints_(services.store, services.artifacts, services.clock,
                   [this](absl::string_view job) { news_.Changed(job); }),
      admission_(services.store, services.clock, options.max_queued_jobs),
      workers_(services.clock, {.connected_for = std::max(options.lease, kShortestConnectedFor),
                                .first_quarantine = options.quarantine}),
      last_sweep_us_(absl::ToUnixMicros(services.clock.Now())) {}

absl::Status Scheduler::Admit(absl::string_view tenant) {
  if (!draining_) return admission_.Check(tenant);
  return ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                     "the server is shutting down; retry with the same request_id");
}

absl::StatusOr<SubmitResult> Scheduler::Submit(NewJob job) {
  job.ageing = options_.ageing;
  auto result = store_.Submit(job, admission_.LimitsOf(job.tenant));
  RETURN_IF_ERROR(Admission::Explain(result.status(), job.tenant));
  if (!result->duplicate) {
    news_.Changed(result->record.id);
    waiting_.JobArrived(result->record.id, NeedsOf(result->record.job));
    store_.NotifyOthers();
  }
  return result;
}

absl::StatusOr<JobRecord> Scheduler::Cancel(absl::string_view id, const std::string& actor) {
  const HeldNames::Hold hold = ending_.Take(id);
  const auto cancel = [&](JobRecord& record) -> absl::Status {
    RETURN_IF_ERROR(RequestCancel(record, store_.Now()));
    record.audit = NoteOf(record, actor);
    return absl::OkStatus();
  };
  auto cancelled = Update(DurableStep::kCancel, id, cancel);
  if (ReasonOf(cancelled.status()) == "NOTHING_TO_CANCEL") return store_.Get(id);
  RETURN_IF_ERROR(cancelled.status());
  if (cancelled->job.state() == QuantJob::CANCELLED) {
    CountFinishedJob(metrics_, cancelled->job, nullptr);
    checkpoints_.Drop(cancelled->id);
  }
  waiting_.WakeWorker(cancelled->job.worker());
  return cancelled;
}

absl::Status Scheduler::CheckLease(absl::string_view id, int64_t fence) {
  ASSIGN_OR_RETURN(const JobRecord record, store_.Get(id));
  const absl::Status status = CheckFence(record, fence);
  if (!status.ok()) metrics_.Increment(Metric::kFenceRejections);
  return status;
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
  waiting_.WakeAll();
}

void Scheduler::EndWatches() {
  watches_ended_ = true;
  news_.AnyChanged();
}

void Scheduler::JobsChangedElsewhere() {
  news_.AnyChanged();
  // Without an answer the next sweep looks again.
  (void)LookForWaitingJobs();
  (void)LookForCancelledJobs();
}

std::vector<std::string> Scheduler::Conditions(const QuantJob& job) const {
  if (job.state() != QuantJob::QUEUED) return {};
  const std::string obstacle = workers_.Obstacle(NeedsOf(job));
  const std::string remark = obstacle.empty() ? workers_.Reluctance(NeedsOf(job)) : obstacle;
  if (remark.empty()) return {};
  return {options_.has_other_servers ? absl::StrCat(remark, kAtThisServer) : remark};
}

absl::StatusOr<JobRecord> Scheduler::Update(DurableStep step, absl::string_view id, const JobMutator& mutate) {
  ASSIGN_OR_RETURN(JobRecord record, store_.Update(step, id, mutate));
  news_.Changed(id);
  store_.NotifyOthers();
  return record;
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

absl::Status Scheduler::Publish(const FinishedJob& finished) {
  // This server lets nobody else end the job; others, on the same store, go by its lease.
  const auto renew = [&](JobRecord& record) -> absl::Status {
    RETURN_IF_ERROR(CheckFence(record, finished.fence()));
    record.lease_deadline = store_.Now() + options_.lease;
    return absl::OkStatus();
  };
  const Repeater keep(options_.lease / 3, [&] { (void)Update(DurableStep::kRenew, finished.job(), renew); });
  return artifacts_.Publish({finished.job(), finished.fence()}, finished.artifact());
}

absl::Status Scheduler::FinishSuccessfully(const FinishedJob& finished) {
  const absl::Status published = Publish(finished);
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
    RETURN_IF_ERROR(EndAttempt(record, finished, options_.retry, store_.Now()));
    SetExpiry(record.job);
    record.audit = NoteOf(record, absl::StrCat("worker:", record.job.worker()));
    return absl::OkStatus();
  };
  const DurableStep step = StepOf(finished.outcome());
  const bool with_report = finished.outcome() == FinishedJob::OUTCOME_SUCCEEDED && finished.has_report();
  const auto result = with_report ? store_.UpdateWithReport(step, finished.job(), finished.report(), end)
                                  : store_.Update(step, finished.job(), end);
  if (ReasonOf(result.status()) == "STALE_LEASE") metrics_.Increment(Metric::kFenceRejections);
  RETURN_IF_ERROR(result.status());
  news_.Changed(result->id);
  store_.NotifyOthers();
  CountEnd(*result, AttemptResult(*result, finished.outcome()), with_report ? &finished.report() : nullptr);
  if (result->job.state() == QuantJob::SUCCEEDED) {
    CountEstimate(metrics_, result->job);
    run_times_.Learn(result->job);
  }
  JudgeWorker(*result, finished.outcome());
  AnnounceEnd(*result);
  Log(Severity::kInfo, "attempt_ended",
      {{"job", result->id}, {"worker", result->job.worker()}, {"state", StateName(result->job.state())}});
  return DropStaged(*result, finished.fence());
}

void Scheduler::SetExpiry(QuantJob& job) const {
  if (!job.has_artifact() || options_.retain_artifacts <= absl::ZeroDuration()) return;
  SetTimestamp(store_.Now() + options_.retain_artifacts, job.mutable_artifact()->mutable_expire_time());
}

void Scheduler::JudgeWorker(const JobRecord& after, FinishedJob::Outcome outcome) {
  const std::string& worker = after.job.worker();
  if (outcome == FinishedJob::OUTCOME_SUCCEEDED || outcome == FinishedJob::OUTCOME_FAILED) {
    workers_.RecordSuccess(worker);
  } else if (outcome == FinishedJob::OUTCOME_CRASHED && workers_.RecordCrash(worker, after.id)) {
    Log(Severity::kWarning, "worker_quarantined", {{"worker", worker}, {"job", after.id}},
        "its children died on several different jobs in a row");
  }
}

void Scheduler::AnnounceEnd(const JobRecord& after) {
  if (after.job.state() == QuantJob::QUEUED && after.run_after <= store_.Now()) {
    waiting_.JobArrived(after.id, NeedsOf(after.job));
  }
  if (admission_.tenants()->Of(after.tenant).max_running > 0) waiting_.LookAgain();
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

}  // namespace quantd
