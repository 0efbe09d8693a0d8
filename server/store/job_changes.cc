#include "server/store/job_changes.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/scheduler/fair_order.h"
#include "server/store/audit_log.h"
#include "server/store/event_log.h"
#include "server/store/job_rows.h"
#include "server/store/request_ids.h"
#include "server/store/retention_queries.h"
#include "server/store/tallies.h"

namespace quantd {
namespace {

using v1::QuantJob;

JobRecord NewRecord(const NewJob& job) {
  JobRecord record;
  record.id = job.id;
  record.tenant = job.tenant;
  record.job.set_name(JobName(job.tenant, job.id));
  *record.job.mutable_spec() = job.spec;
  if (job.estimate.ByteSizeLong() > 0) *record.job.mutable_estimate() = job.estimate;
  record.job.set_state(QuantJob::QUEUED);
  SetTimestamp(job.create_time, record.job.mutable_create_time());
  record.queue_deadline = QueueDeadline(record.job);
  return record;
}

// Whether a watcher that reconnects must be able to see this change again.
bool DeservesEvent(const QuantJob& before, const QuantJob& after) {
  return before.state() != after.state() || before.progress().phase() != after.progress().phase() ||
         before.progress().block() != after.progress().block() || before.has_delete_time() != after.has_delete_time() ||
         before.artifact().expired() != after.artifact().expired();
}

absl::Status CheckChange(const JobRecord& before, const JobRecord& after) {
  const JobState from = before.job.state();
  const JobState to = after.job.state();
  if (!IsLegalTransition(from, to)) {
    return ReasonError(absl::StatusCode::kInternal, "ILLEGAL_TRANSITION",
                       absl::StrFormat("job %s cannot go from %s to %s", before.id, StateName(from), StateName(to)));
  }
  if (!IsTerminal(from) || KeepsResult(before.job, after.job)) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kInternal, "ILLEGAL_TRANSITION",
                     absl::StrFormat("job %s is %s: its result cannot change", before.id, StateName(from)));
}

// What the store itself keeps true of every record.
void Complete(JobRecord& record) {
  if (IsTerminal(record.job.state())) record.checkpoint.reset();
  record.job.clear_checkpoint();
  if (record.checkpoint.has_value()) *record.job.mutable_checkpoint() = record.checkpoint->summary();
}

absl::Status WriteVisible(SqlConnection& connection, const JobRecord& before, JobRecord& after, absl::Time now) {
  ASSIGN_OR_RETURN(const int64_t revision, NextRevision(connection));
  after.job.set_revision(revision);
  RETURN_IF_ERROR(UpdateJobRow(connection, before, after));
  if (DeservesEvent(before.job, after.job)) RETURN_IF_ERROR(InsertEvent(connection, after, now));
  return MoveTally(connection, &before, &after);
}

}  // namespace

absl::StatusOr<JobRecord> InsertJob(SqlConnection& connection, const NewJob& job, absl::Time now) {
  JobRecord record = NewRecord(job);
  ASSIGN_OR_RETURN(const int64_t revision, NextRevision(connection));
  record.job.set_revision(revision);
  RETURN_IF_ERROR(InsertJobRow(connection, record, RankMicros(job.create_time, job.spec.priority(), job.ageing)));
  RETURN_IF_ERROR(InsertRequest(connection, job, record.sequence));
  RETURN_IF_ERROR(InsertEvent(connection, record, now));
  const AuditNote note = {job.actor, "submit", ""};
  RETURN_IF_ERROR(InsertAudit(connection, record, note, now));
  RETURN_IF_ERROR(MoveTally(connection, nullptr, &record));
  return record;
}

absl::Status ChangeJob(SqlConnection& connection, JobRecord& record, const JobMutator& mutate, absl::Time now) {
  const JobRecord before = record;
  RETURN_IF_ERROR(mutate(record));
  Complete(record);
  RETURN_IF_ERROR(CheckChange(before, record));
  RETURN_IF_ERROR(UpdateFileReferences(connection, &before, record));
  RETURN_IF_ERROR(InsertAudit(connection, record, record.audit, now));
  // Renewing a lease is no change that a user could see.
  const bool visible = EventSnapshot(before) != EventSnapshot(record);
  return visible ? WriteVisible(connection, before, record, now) : UpdateJobRow(connection, before, record);
}

absl::Status InsertReport(SqlConnection& connection, const v1::QuantReport& report, int64_t sequence) {
  const auto insert = connection.Prepare(
      "INSERT INTO reports (job, report) VALUES (?1, ?2) ON CONFLICT (job) DO UPDATE SET report = excluded.report");
  return insert->Bind(1, sequence).BindBlob(2, report.SerializeAsString()).Run();
}

absl::Status PurgeJob(SqlConnection& connection, const JobRecord& record, const AuditNote& note, absl::Time now) {
  if (!record.job.has_delete_time()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "JOB_NOT_DELETED",
                       absl::StrFormat("job %s is not deleted; delete it first", record.id));
  }
  RETURN_IF_ERROR(InsertAudit(connection, record, note, now));
  RETURN_IF_ERROR(DeleteJobRows(connection, record.sequence));
  return MoveTally(connection, &record, nullptr);
}

}  // namespace quantd
