#include "server/retention/marks.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

absl::Status Refuse(absl::string_view reason, const std::string& message) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, reason, message);
}

}  // namespace

absl::Status MarkDeleted(JobRecord& record, absl::Time now, absl::Duration window, const AuditNote& note) {
  v1::QuantJob& job = record.job;
  if (!IsTerminal(job.state())) {
    return Refuse("JOB_NOT_FINISHED",
                  absl::StrFormat("%s is %s; only a job that has ended can be deleted, cancel it first", job.name(),
                                  StateName(job.state())));
  }
  if (job.has_delete_time()) return Refuse(kAlreadyDeleted, absl::StrFormat("%s is deleted already", job.name()));
  SetTimestamp(now, job.mutable_delete_time());
  SetTimestamp(now + window, job.mutable_purge_time());
  record.audit = note;
  return absl::OkStatus();
}

absl::Status TakeBack(JobRecord& record, absl::Time now, const AuditNote& note) {
  v1::QuantJob& job = record.job;
  if (!job.has_delete_time()) return Refuse("JOB_NOT_DELETED", absl::StrFormat("%s is not deleted", job.name()));
  if (FromTimestamp(job.purge_time()) <= now) {
    return Refuse("UNDELETE_TOO_LATE", absl::StrFormat("%s could be undeleted until %s; it is being removed",
                                                       job.name(), absl::FormatTime(FromTimestamp(job.purge_time()))));
  }
  job.clear_delete_time();
  job.clear_purge_time();
  record.audit = note;
  return absl::OkStatus();
}

absl::Status MarkExpired(JobRecord& record, const AuditNote& note) {
  if (!record.job.has_artifact() || record.job.artifact().expired()) {
    return Refuse("NOTHING_TO_EXPIRE", absl::StrFormat("%s has no artifact to expire", record.job.name()));
  }
  record.job.mutable_artifact()->set_expired(true);
  record.audit = note;
  return absl::OkStatus();
}

}  // namespace quantd
