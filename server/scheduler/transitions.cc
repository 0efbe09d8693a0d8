#include "server/scheduler/transitions.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "absl/strings/str_cat.h"
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

// Of RequeuePolicy::first_pause, by the number of attempts lost; the last one for all that follow.
constexpr int kPauseFactors[] = {1, 6, 24};
constexpr int kMostPauses = static_cast<int>(std::size(kPauseFactors));

struct Action {
  JobState state;  // that it leads to
  const char* name;
};
constexpr Action kActions[] = {
    {QuantJob::QUEUED, "requeue"},    {QuantJob::RUNNING, "claim"},   {QuantJob::CANCELLING, "cancel"},
    {QuantJob::SUCCEEDED, "succeed"}, {QuantJob::REJECTED, "reject"}, {QuantJob::FAILED, "fail"},
    {QuantJob::CANCELLED, "cancel"},
};

void ReleaseLease(JobRecord& record) {
  record.lease_deadline = absl::InfinitePast();
  record.run_deadline = absl::InfiniteFuture();
  record.incarnation.clear();
}

void End(JobRecord& record, JobState state, absl::Time now) {
  record.job.set_state(state);
  ReleaseLease(record);
  record.queue_deadline = absl::InfiniteFuture();
  SetTimestamp(now, record.job.mutable_end_time());
}

// The queue deadline begins anew: the job has waited its turn once and was not to blame for coming back.
void Requeue(JobRecord& record, absl::Duration pause, absl::Time now) {
  record.job.set_state(QuantJob::QUEUED);
  ReleaseLease(record);
  record.run_after = pause > absl::ZeroDuration() ? now + pause : absl::InfinitePast();
  const int64_t timeout_ms = record.job.spec().queue_timeout_ms();
  record.queue_deadline = timeout_ms > 0 ? now + pause + absl::Milliseconds(timeout_ms) : absl::InfiniteFuture();
  record.job.clear_progress();
}

v1::JobError Bounded(const v1::JobError& error, const JobRecord& record) {
  v1::JobError kept = error;
  kept.set_reason(KeepBeginning(error.reason().empty() ? "UNKNOWN" : error.reason(), kMaxNameBytes));
  kept.set_message(KeepBeginning(error.message(), kMaxMessageBytes));
  kept.set_log_tail(KeepEnd(error.log_tail(), kMaxLogTailBytes));
  kept.set_phase(KeepBeginning(error.phase().empty() ? record.job.progress().phase() : error.phase(), kMaxNameBytes));
  return kept;
}

void Fail(JobRecord& record, const v1::JobError& error, absl::Time now) {
  *record.job.mutable_error() = Bounded(error, record);
  End(record, QuantJob::FAILED, now);
}

v1::JobError ErrorOf(absl::string_view reason, absl::string_view message) {
  v1::JobError error;
  error.set_reason(std::string(reason));
  error.set_message(std::string(message));
  return error;
}

// An attempt that the infrastructure lost: another one while there are any left.
void Retry(JobRecord& record, const v1::JobError& error, absl::Duration pause, absl::Time now) {
  const int most = MaxAttempts(record.job.spec());
  if (record.job.attempt() >= most) {
    v1::JobError last = error;
    last.set_message(absl::StrFormat("%s, in attempt %d of %d", error.message(), record.job.attempt(), most));
    Fail(record, last, now);
    return;
  }
  *record.job.mutable_last_failure() = Bounded(error, record);
  record.lost_on = record.job.worker();
  Requeue(record, pause, now);
}

int64_t NotNegative(int64_t value) {
  return std::max<int64_t>(value, 0);
}

// What the attempt took, by the server's clock and as far as the worker says.
void KeepActuals(JobRecord& record, const v1::JobActuals& said, absl::Time now) {
  v1::JobActuals* kept = record.job.mutable_actuals();
  const absl::Duration ran = now - FromTimestamp(record.job.start_time());
  kept->set_run_seconds(std::max(absl::ToDoubleSeconds(ran), 0.0));
  kept->set_peak_memory_bytes(NotNegative(said.peak_memory_bytes()));
  kept->set_disk_bytes(NotNegative(said.disk_bytes()));
  kept->set_resumed_from_block(std::max(said.resumed_from_block(), 0));
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

// 0..1, the same for the same job and fence everywhere.
double ShareOf(const JobRecord& record) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : absl::StrCat(record.id, ":", record.fence)) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return static_cast<double>(hash % 1024) / 1024;
}

}  // namespace

int MaxAttempts(const v1::QuantJobSpec& spec) {
  return spec.max_attempts() > 0 ? spec.max_attempts() : kDefaultMaxAttempts;
}

absl::Duration RequeueDelay(const RequeuePolicy& policy, const JobRecord& record, Loss loss) {
  const int step = std::max(record.job.attempt(), 1) - (loss == Loss::kLease ? 1 : 0);
  if (step == 0) return absl::ZeroDuration();
  const absl::Duration pause = policy.first_pause * kPauseFactors[std::min(step, kMostPauses) - 1];
  return pause + pause / 5 * ShareOf(record);
}

AuditNote NoteOf(const JobRecord& after, const std::string& actor) {
  for (const Action& row : kActions) {
    if (row.state == after.job.state())
      return {.actor = actor, .action = row.name, .detail = after.job.error().reason()};
  }
  return {};
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
  record.queue_deadline = absl::InfiniteFuture();
  const int64_t timeout_ms = job.spec().run_timeout_ms();
  record.run_deadline = timeout_ms > 0 ? now + absl::Milliseconds(timeout_ms) + lease : absl::InfiniteFuture();
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

absl::Status EndAttempt(JobRecord& record, const FinishedJob& finished, const RequeuePolicy& policy, absl::Time now) {
  RETURN_IF_ERROR(CheckFence(record, finished.fence()));
  KeepActuals(record, finished.actuals(), now);
  if (record.job.state() == QuantJob::CANCELLING) {
    End(record, QuantJob::CANCELLED, now);
    return absl::OkStatus();
  }
  const absl::Duration pause = RequeueDelay(policy, record, Loss::kCrash);
  switch (finished.outcome()) {
    case FinishedJob::OUTCOME_SUCCEEDED:
      Succeed(record, finished.artifact(), now);
      return absl::OkStatus();
    case FinishedJob::OUTCOME_FAILED:
      Fail(record, finished.error(), now);
      return absl::OkStatus();
    case FinishedJob::OUTCOME_CRASHED:
      Retry(record, finished.error(), pause, now);
      return absl::OkStatus();
    case FinishedJob::OUTCOME_CANCELLED:
      Retry(record, ErrorOf("WORKER_ERROR", absl::StrFormat("worker %s ended the child unasked", record.job.worker())),
            pause, now);
      return absl::OkStatus();
    case FinishedJob::OUTCOME_RETURNED:
      record.job.set_attempt(record.job.attempt() - 1);
      Requeue(record, absl::ZeroDuration(), now);
      return absl::OkStatus();
    default:
      return InvalidInput("OUTCOME_INVALID",
                          absl::StrFormat("job %s: %d is no outcome", record.id, static_cast<int>(finished.outcome())));
  }
}

absl::Status LoseAttempt(JobRecord& record, const std::string& cause, const RequeuePolicy& policy, absl::Time now) {
  if (record.job.state() == QuantJob::CANCELLING) {
    End(record, QuantJob::CANCELLED, now);
    return absl::OkStatus();
  }
  Retry(record, ErrorOf("WORKER_LOST", cause), RequeueDelay(policy, record, Loss::kLease), now);
  return absl::OkStatus();
}

absl::Status FailOverdue(JobRecord& record, const std::string& obstacle, absl::Time now) {
  const v1::QuantJobSpec& spec = record.job.spec();
  if (record.job.state() == QuantJob::QUEUED && record.queue_deadline <= now) {
    const std::string waited =
        absl::StrFormat("no worker took the job within queue_timeout_ms = %d", spec.queue_timeout_ms());
    Fail(record,
         obstacle.empty() ? ErrorOf("QUEUE_DEADLINE", absl::StrCat(waited, "; add workers or allow more time"))
                          : ErrorOf("UNSCHEDULABLE", absl::StrCat(waited, ": ", obstacle)),
         now);
    return absl::OkStatus();
  }
  if (record.job.state() == QuantJob::RUNNING && record.run_deadline <= now) {
    Fail(record,
         ErrorOf("RUN_DEADLINE", absl::StrFormat("attempt %d ran longer than run_timeout_ms = %d; allow more time",
                                                 record.job.attempt(), spec.run_timeout_ms())),
         now);
    return absl::OkStatus();
  }
  return absl::AbortedError("not overdue any more");
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
