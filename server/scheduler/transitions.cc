#include "server/scheduler/transitions.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

using v1::FinishedJob;
using v1::QuantJob;

constexpr size_t kMaxLogTailBytes = 16 << 10;
constexpr size_t kMaxMessageBytes = 4 << 10;
constexpr size_t kMaxNameBytes = 256;  // phases, layers, reasons

void End(JobRecord& record, JobState state, absl::Time now) {
  record.job.set_state(state);
  record.lease_deadline = absl::InfinitePast();
  record.incarnation.clear();
  SetTimestamp(now, record.job.mutable_end_time());
}

void Requeue(JobRecord& record, absl::Time run_after) {
  record.job.set_state(QuantJob::QUEUED);
  record.lease_deadline = absl::InfinitePast();
  record.incarnation.clear();
  record.run_after = run_after;
  record.job.clear_progress();
}

void Fail(JobRecord& record, const v1::JobError& error, absl::Time now) {
  v1::JobError* kept = record.job.mutable_error();
  *kept = error;
  kept->set_reason(KeepBeginning(error.reason().empty() ? "UNKNOWN" : error.reason(), kMaxNameBytes));
  kept->set_message(KeepBeginning(error.message(), kMaxMessageBytes));
  kept->set_log_tail(KeepEnd(error.log_tail(), kMaxLogTailBytes));
  kept->set_phase(KeepBeginning(error.phase().empty() ? record.job.progress().phase() : error.phase(), kMaxNameBytes));
  End(record, QuantJob::FAILED, now);
}

v1::JobProgress Sanitized(const v1::JobProgress& progress, double earlier_fraction) {
  v1::JobProgress result = progress;
  result.set_phase(KeepBeginning(progress.phase(), kMaxNameBytes));
  result.set_layer(KeepBeginning(progress.layer(), kMaxNameBytes));
  const double fraction = std::isfinite(progress.fraction()) ? std::clamp(progress.fraction(), 0.0, 1.0) : 0.0;
  result.set_fraction(std::max(fraction, earlier_fraction));
  if (!std::isfinite(progress.eta_seconds()) || progress.eta_seconds() < 0) result.set_eta_seconds(0);
  return result;
}

void Succeed(JobRecord& record, const v1::Artifact& artifact, absl::Time now) {
  v1::Artifact* kept = record.job.mutable_artifact();
  *kept = artifact;
  int64_t size_bytes = 0;
  for (const v1::ArtifactFile& file : artifact.files()) size_bytes += file.size_bytes();
  kept->set_size_bytes(size_bytes);
  record.job.mutable_progress()->set_fraction(1);
  record.job.mutable_progress()->set_eta_seconds(0);
  End(record, QuantJob::SUCCEEDED, now);
}

}  // namespace

absl::Duration RequeueDelay(int lost_attempts) {
  return lost_attempts <= 1 ? absl::Seconds(1) : absl::Seconds(5);
}

absl::Status CheckFence(const JobRecord& record, int64_t fence) {
  if (HasLease(record.job.state()) && record.fence == fence) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kAborted, "STALE_LEASE",
      absl::StrFormat("job %s: fence %d does not hold the lease (state %s, newest fence %d); end the child", record.id,
                      fence, StateName(record.job.state()), record.fence));
}

absl::Status StartAttempt(JobRecord& record, const LeaseHolder& holder, absl::Time now, absl::Duration lease) {
  QuantJob& job = record.job;
  job.set_state(QuantJob::RUNNING);
  job.set_worker(holder.worker);
  job.set_attempt(job.attempt() + 1);
  job.clear_progress();
  SetTimestamp(now, job.mutable_start_time());
  record.incarnation = holder.incarnation;
  record.fence += 1;
  record.lease_deadline = now + lease;
  record.run_after = absl::InfinitePast();
  return absl::OkStatus();
}

absl::Status RenewLease(JobRecord& record, const v1::RunningJob& running, absl::Time now, absl::Duration lease) {
  RETURN_IF_ERROR(CheckFence(record, running.fence()));
  record.lease_deadline = now + lease;
  if (running.has_progress()) {
    *record.job.mutable_progress() = Sanitized(running.progress(), record.job.progress().fraction());
  }
  return absl::OkStatus();
}

absl::Status EndAttempt(JobRecord& record, const FinishedJob& finished, absl::Time now) {
  RETURN_IF_ERROR(CheckFence(record, finished.fence()));
  if (record.job.state() == QuantJob::CANCELLING) {
    End(record, QuantJob::CANCELLED, now);
    return absl::OkStatus();
  }
  switch (finished.outcome()) {
    case FinishedJob::OUTCOME_SUCCEEDED:
      Succeed(record, finished.artifact(), now);
      return absl::OkStatus();
    case FinishedJob::OUTCOME_CRASHED:
    case FinishedJob::OUTCOME_FAILED:
      Fail(record, finished.error(), now);
      return absl::OkStatus();
    case FinishedJob::OUTCOME_CANCELLED:
      return LoseAttempt(record, absl::StrFormat("worker %s ended the child unasked", record.job.worker()), now);
    case FinishedJob::OUTCOME_RETURNED:
      record.job.set_attempt(record.job.attempt() - 1);
      Requeue(record, absl::InfinitePast());
      return absl::OkStatus();
    default:
      return InvalidInput("OUTCOME_INVALID",
                          absl::StrFormat("job %s: %d is no outcome", record.id, static_cast<int>(finished.outcome())));
  }
}

absl::Status LoseAttempt(JobRecord& record, const std::string& cause, absl::Time now) {
  if (record.job.state() == QuantJob::CANCELLING) {
    End(record, QuantJob::CANCELLED, now);
    return absl::OkStatus();
  }
  if (record.job.attempt() < kMaxAttempts) {
    Requeue(record, now + RequeueDelay(record.job.attempt()));
    return absl::OkStatus();
  }
  v1::JobError error;
  error.set_reason("WORKER_LOST");
  error.set_message(absl::StrFormat("%s, in attempt %d of %d; the job may be what ends its workers (see their logs)",
                                    cause, record.job.attempt(), kMaxAttempts));
  Fail(record, error, now);
  return absl::OkStatus();
}

absl::Status RequestCancel(JobRecord& record, absl::Time now) {
  if (record.job.state() == QuantJob::QUEUED) {
    End(record, QuantJob::CANCELLED, now);
    return absl::OkStatus();
  }
  if (record.job.state() == QuantJob::RUNNING) {
    record.job.set_state(QuantJob::CANCELLING);
    return absl::OkStatus();
  }
  return ReasonError(absl::StatusCode::kFailedPrecondition, "NOTHING_TO_CANCEL",
                     absl::StrFormat("job %s is %s", record.id, StateName(record.job.state())));
}

}  // namespace quantd
