// Scheduler::Sweep: what nobody reports. Leases that ended, deadlines that passed, pauses that are over.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/scheduler/job_picker.h"
#include "server/scheduler/scheduler.h"
#include "server/scheduler/transitions.h"

namespace quantd {
namespace {

using v1::QuantJob;

// Jobs a query: those that are due come first, so that however many healthy jobs there are, none of them is looked at.
constexpr int kPage = 100;

constexpr char kSweeper[] = "sweeper";

}  // namespace

absl::Status Scheduler::Sweep() {
  const absl::Time now = store_.Now();
  absl::Status status;
  if (absl::ToUnixMicros(now) >= spared_until_us_) status = SweepLeases(now);
  status.Update(SweepDeadlines(now));
  RETURN_IF_ERROR(status);
  // Jobs whose pause after a lost attempt is over; nobody else tells the waiting workers.
  RETURN_IF_ERROR(LookForWaitingJobs());
  // Another server that was killed may have cancelled one and not told.
  RETURN_IF_ERROR(LookForCancelledJobs());
  last_sweep_us_ = absl::ToUnixMicros(clock_.Now());
  metrics_.Set(Metric::kSweepLastSuccess, absl::ToDoubleSeconds(clock_.Now() - absl::UnixEpoch()));
  return absl::OkStatus();
}

absl::Status Scheduler::LookForWaitingJobs() {
  ASSIGN_OR_RETURN(const QueueSummary queue, store_.SummarizeQueue());
  if (!queue.waiting_by_device.empty()) waiting_.LookAgain();
  return absl::OkStatus();
}

absl::Status Scheduler::LookForCancelledJobs() {
  ASSIGN_OR_RETURN(const auto counts, store_.CountByState());
  const auto cancelling = counts.find(QuantJob::CANCELLING);
  if (cancelling != counts.end() && cancelling->second > 0) waiting_.WakeAll();
  return absl::OkStatus();
}

absl::Status Scheduler::SweepLeases(absl::Time now) {
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<JobRecord> expired, store_.LeaseExpired(now, kPage));
    ASSIGN_OR_RETURN(const int lost, LoseAttempts(expired, "did not renew its lease"));
    // A page of which none was lost would come again: its jobs are being ended by others.
    if (expired.size() < static_cast<size_t>(kPage) || lost == 0) return absl::OkStatus();
  }
}

absl::Status Scheduler::SweepDeadlines(absl::Time now) {
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<JobRecord> overdue, store_.Overdue(now, kPage));
    int failed = 0;
    for (const JobRecord& record : overdue) {
      const absl::Status status = FailOne(record, now);
      if (status.ok()) ++failed;
      if (!status.ok() && status.code() != absl::StatusCode::kAborted) return status;
    }
    if (overdue.size() < static_cast<size_t>(kPage) || failed == 0) return absl::OkStatus();
  }
}

absl::Status Scheduler::FailOne(const JobRecord& record, absl::Time now) {
  const HeldNames::Hold hold = ending_.TryTake(record.id);
  if (hold == nullptr) return absl::AbortedError("its end is being recorded");
  // Of the workers of other servers nothing is known.
  const std::string obstacle = options_.has_other_servers ? "" : workers_.Obstacle(NeedsOf(record.job));
  const auto fail = [&](JobRecord& current) -> absl::Status {
    RETURN_IF_ERROR(FailOverdue(current, obstacle, now));
    current.audit = NoteOf(current, kSweeper);
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(const JobRecord after, Update(DurableStep::kFail, record.id, fail));
  Log(Severity::kWarning, "deadline_passed", {{"job", after.id}, {"reason", after.job.error().reason()}},
      after.job.error().message());
  if (record.job.state() == QuantJob::QUEUED) {
    CountFinishedJob(metrics_, after.job, nullptr);
    return DropStaged(after, record.fence);
  }
  CountEnd(after, "failed", nullptr);
  waiting_.WakeWorker(after.job.worker());
  AnnounceEnd(after);
  return DropStaged(after, record.fence);
}

absl::StatusOr<int> Scheduler::LoseAttempts(const std::vector<JobRecord>& records, const std::string& cause) {
  absl::Status first_error;
  int lost = 0;
  for (const JobRecord& record : records) {
    const absl::Status status = LoseOne(record, absl::StrCat("worker ", record.job.worker(), " ", cause));
    if (status.ok()) ++lost;
    // Somebody else was first (a renewal, a result that is being published): then the lease is not expired any more.
    if (status.code() != absl::StatusCode::kAborted) first_error.Update(status);
  }
  RETURN_IF_ERROR(first_error);
  return lost;
}

absl::Status Scheduler::LoseOne(const JobRecord& record, const std::string& cause) {
  const HeldNames::Hold hold = ending_.TryTake(record.id);
  if (hold == nullptr) return absl::AbortedError("its end is being recorded");
  const absl::Time now = store_.Now();
  const auto lose = [&](JobRecord& current) -> absl::Status {
    RETURN_IF_ERROR(CheckFence(current, record.fence));
    if (current.lease_deadline != record.lease_deadline) return absl::AbortedError("renewed meanwhile");
    RETURN_IF_ERROR(LoseAttempt(current, cause, options_.retry, now));
    current.audit = NoteOf(current, kSweeper);
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(const JobRecord after, Update(DurableStep::kRequeue, record.id, lose));
  Log(Severity::kWarning, "lease_lost",
      {{"job", record.id}, {"fence", absl::StrCat(record.fence)}, {"state", StateName(after.job.state())}}, cause);
  if (record.lease_deadline <= now) metrics_.Increment(Metric::kLeaseExpirations);
  CountEnd(after, after.job.state() == QuantJob::CANCELLED ? "cancelled" : "expired", nullptr);
  AnnounceEnd(after);
  return DropStaged(after, record.fence);
}

void Scheduler::SpareLeases() {
  spared_until_us_ = absl::ToUnixMicros(store_.Now() + options_.lease);
}

absl::Status Scheduler::ExtendLeases() {
  ASSIGN_OR_RETURN(const std::vector<JobRecord> leased, store_.Leased(""));
  for (const JobRecord& record : leased) {
    const auto extend = [&](JobRecord& current) {
      current.lease_deadline = store_.Now() + options_.lease;
      return CheckFence(current, record.fence);
    };
    const absl::Status status = Update(DurableStep::kRenew, record.id, extend).status();
    // Another server has ended it meanwhile.
    if (status.code() != absl::StatusCode::kAborted) RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

}  // namespace quantd
