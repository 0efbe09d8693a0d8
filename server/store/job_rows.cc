#include "server/store/job_rows.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

using v1::QuantJob;

// In the order of kColumns.
enum Column {
  kSequence,
  kId,
  kTenant,
  kState,
  kRevision,
  kCompactedRevision,
  kFence,
  kAttempt,
  kWorker,
  kIncarnation,
  kLostOn,
  kCreate,
  kStart,
  kEnd,
  kLeaseDeadline,
  kRunAfter,
  kRunDeadline,
  kDelete,
  kPurge,
  kSpec,
  kEstimate,
  kProgress,
  kError,
  kArtifact,
  kCheckpoint,
  kActuals,
  kLastFailure,
};
constexpr char kColumns[] =
    "sequence, id, tenant, state, revision, compacted_revision, fence, attempt, worker, incarnation, lost_on, "
    "create_us, start_us, end_us, lease_deadline_us, run_after_us, run_deadline_us, delete_us, "
    "purge_us, spec, estimate, progress, error, artifact, checkpoint, actuals, last_failure";

// Absent messages are stored as NULL, present ones as bytes (which may be none).
bool IsNull(const SqlStatement& row, Column column) {
  return !row.OptionalInt(column).has_value();
}

absl::Status ParseInto(const SqlStatement& row, Column column, const char* what, google::protobuf::Message* message) {
  if (message->ParseFromString(row.Bytes(column))) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrFormat("job %s: its stored %s does not parse; restore the job database from a backup",
                                     row.Bytes(kId), what));
}

// The messages of a job that may be absent.
absl::Status ReadMessages(const SqlStatement& row, JobRecord& record) {
  QuantJob& job = record.job;
  RETURN_IF_ERROR(ParseInto(row, kSpec, "spec", job.mutable_spec()));
  if (!IsNull(row, kEstimate)) RETURN_IF_ERROR(ParseInto(row, kEstimate, "estimate", job.mutable_estimate()));
  if (!IsNull(row, kProgress)) RETURN_IF_ERROR(ParseInto(row, kProgress, "progress", job.mutable_progress()));
  if (!IsNull(row, kError)) RETURN_IF_ERROR(ParseInto(row, kError, "error", job.mutable_error()));
  if (!IsNull(row, kArtifact)) RETURN_IF_ERROR(ParseInto(row, kArtifact, "artifact", job.mutable_artifact()));
  if (!IsNull(row, kActuals)) RETURN_IF_ERROR(ParseInto(row, kActuals, "actuals", job.mutable_actuals()));
  if (!IsNull(row, kLastFailure)) {
    RETURN_IF_ERROR(ParseInto(row, kLastFailure, "last failure", job.mutable_last_failure()));
  }
  if (IsNull(row, kCheckpoint)) return absl::OkStatus();
  RETURN_IF_ERROR(ParseInto(row, kCheckpoint, "checkpoint", &record.checkpoint.emplace()));
  *job.mutable_checkpoint() = record.checkpoint->summary();
  return absl::OkStatus();
}

void ReadTime(const SqlStatement& row, Column column, google::protobuf::Timestamp* out) {
  SetTimestamp(absl::FromUnixMicros(row.Int(column)), out);
}

void ReadTimes(const SqlStatement& row, JobRecord& record) {
  const auto time_or = [&](Column column, absl::Time absent) {
    const std::optional<int64_t> micros = row.OptionalInt(column);
    return micros.has_value() ? absl::FromUnixMicros(*micros) : absent;
  };
  record.lease_deadline = time_or(kLeaseDeadline, absl::InfinitePast());
  record.run_after = time_or(kRunAfter, absl::InfinitePast());
  record.run_deadline = time_or(kRunDeadline, absl::InfiniteFuture());
  QuantJob& job = record.job;
  ReadTime(row, kCreate, job.mutable_create_time());
  if (!IsNull(row, kStart)) ReadTime(row, kStart, job.mutable_start_time());
  if (!IsNull(row, kEnd)) ReadTime(row, kEnd, job.mutable_end_time());
  if (!IsNull(row, kDelete)) ReadTime(row, kDelete, job.mutable_delete_time());
  if (!IsNull(row, kPurge)) ReadTime(row, kPurge, job.mutable_purge_time());
}

absl::StatusOr<JobRecord> ReadJobRow(const SqlStatement& row) {
  JobRecord record;
  record.sequence = row.Int(kSequence);
  record.id = row.Bytes(kId);
  record.tenant = row.Bytes(kTenant);
  record.fence = row.Int(kFence);
  record.incarnation = row.Bytes(kIncarnation);
  record.lost_on = row.Bytes(kLostOn);
  record.compacted_revision = row.Int(kCompactedRevision);
  record.job.set_name(JobName(record.tenant, record.id));
  record.job.set_state(static_cast<JobState>(row.Int(kState)));
  record.job.set_revision(row.Int(kRevision));
  record.job.set_attempt(static_cast<int32_t>(row.Int(kAttempt)));
  record.job.set_worker(row.Bytes(kWorker));
  ReadTimes(row, record);
  RETURN_IF_ERROR(ReadMessages(row, record));
  record.queue_deadline = QueueDeadline(record.job);
  return record;
}

std::optional<int64_t> FiniteMicros(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return std::nullopt;
  return absl::ToUnixMicros(time);
}

std::optional<int64_t> MicrosIf(bool present, const google::protobuf::Timestamp& timestamp) {
  return present ? std::optional<int64_t>(TimestampMicros(timestamp)) : std::nullopt;
}

// When the artifact's files are to go; nothing when they are gone already.
std::optional<int64_t> ExpireMicros(const QuantJob& job) {
  const v1::Artifact& artifact = job.artifact();
  return MicrosIf(job.has_artifact() && artifact.has_expire_time() && !artifact.expired(), artifact.expire_time());
}

void BindMessage(SqlStatement& statement, int index, bool present, const google::protobuf::Message& message) {
  if (present) {
    statement.BindBlob(index, message.SerializeAsString());
  } else {
    statement.BindNull(index);
  }
}

// Parameters 1..23: everything that may change, in the order of both statements below.
constexpr int kMutableCount = 23;
void BindMutable(SqlStatement& statement, const JobRecord& record) {
  const QuantJob& job = record.job;
  statement.Bind(1, job.state()).Bind(2, job.revision()).Bind(3, record.fence).Bind(4, job.attempt());
  statement.BindText(5, job.worker()).BindText(6, record.incarnation).BindText(7, record.lost_on);
  statement.BindOptional(8, MicrosIf(job.has_start_time(), job.start_time()));
  statement.BindOptional(9, MicrosIf(job.has_end_time(), job.end_time()));
  statement.BindOptional(10, FiniteMicros(record.lease_deadline)).BindOptional(11, FiniteMicros(record.run_after));
  const bool running = job.state() == QuantJob::RUNNING;
  statement.BindOptional(12, running ? FiniteMicros(record.run_deadline) : std::nullopt);
  statement.BindOptional(13, MicrosIf(job.has_delete_time(), job.delete_time()));
  statement.BindOptional(14, MicrosIf(job.has_purge_time(), job.purge_time()));
  statement.BindOptional(15, ExpireMicros(job)).Bind(16, StoredBytes(job));
  BindMessage(statement, 17, job.has_progress(), job.progress());
  BindMessage(statement, 18, job.has_error(), job.error());
  BindMessage(statement, 19, job.has_artifact(), job.artifact());
  const bool checkpointed = record.checkpoint.has_value();
  BindMessage(statement, 20, checkpointed, checkpointed ? *record.checkpoint : v1::Checkpoint::default_instance());
  BindMessage(statement, 21, job.has_actuals(), job.actuals());
  BindMessage(statement, 22, job.has_last_failure(), job.last_failure());
  const bool queued = job.state() == QuantJob::QUEUED;
  statement.BindOptional(kMutableCount, queued ? FiniteMicros(record.queue_deadline) : std::nullopt);
}

}  // namespace

std::string SelectJobs(absl::string_view rest) {
  return absl::StrCat("SELECT ", kColumns, " FROM jobs ", rest);
}

absl::StatusOr<std::optional<JobRecord>> ReadOneJob(SqlStatement& statement) {
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return std::nullopt;
  ASSIGN_OR_RETURN(JobRecord record, ReadJobRow(statement));
  return record;
}

absl::StatusOr<std::vector<JobRecord>> ReadAllJobs(SqlStatement& statement) {
  std::vector<JobRecord> records;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<JobRecord> record, ReadOneJob(statement));
    if (!record.has_value()) return records;
    records.push_back(*std::move(record));
  }
}

absl::Status InsertJobRow(SqlConnection& connection, JobRecord& record, int64_t rank_us) {
  const auto insert = connection.Prepare(
      "INSERT INTO jobs (state, revision, fence, attempt, worker, incarnation, lost_on, start_us, end_us, "
      "lease_deadline_us, run_after_us, run_deadline_us, delete_us, purge_us, expire_us, stored_bytes, progress, "
      "error, artifact, checkpoint, actuals, last_failure, queue_deadline_us, id, tenant, preset, model, device, "
      "rank_us, "
      "memory_bytes, disk_bytes, create_us, spec, estimate) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, "
      "?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34) RETURNING sequence");
  const QuantJob& job = record.job;
  BindMutable(*insert, record);
  insert->BindText(24, record.id).BindText(25, record.tenant);
  insert->BindText(26, job.spec().recipe().preset()).BindText(27, job.spec().model());
  insert->BindText(28, DeviceOf(job.spec())).Bind(29, rank_us);
  insert->Bind(30, job.estimate().peak_memory_bytes()).Bind(31, job.estimate().disk_bytes());
  insert->Bind(32, TimestampMicros(job.create_time()));
  insert->BindBlob(33, job.spec().SerializeAsString());
  BindMessage(*insert, 34, job.has_estimate(), job.estimate());
  RETURN_IF_ERROR(insert->Step().status());
  record.sequence = insert->Int(0);
  return insert->Run();
}

absl::Status UpdateJobRow(SqlConnection& connection, const JobRecord& before, const JobRecord& after) {
  const auto update = connection.Prepare(
      "UPDATE jobs SET state = ?1, revision = ?2, fence = ?3, attempt = ?4, worker = ?5, incarnation = ?6, "
      "lost_on = ?7, start_us = ?8, end_us = ?9, lease_deadline_us = ?10, run_after_us = ?11, run_deadline_us = ?12, "
      "delete_us = ?13, purge_us = ?14, expire_us = ?15, stored_bytes = ?16, progress = ?17, error = ?18, "
      "artifact = ?19, checkpoint = ?20, actuals = ?21, last_failure = ?22, queue_deadline_us = ?23 "
      "WHERE sequence = ?24 AND state = ?25 AND fence = ?26 AND revision = ?27");
  BindMutable(*update, after);
  update->Bind(24, before.sequence).Bind(25, before.job.state());
  update->Bind(26, before.fence).Bind(27, before.job.revision());
  RETURN_IF_ERROR(update->Run());
  if (update->changes() == 1) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kAborted, "STORE_CONFLICT",
                     absl::StrFormat("job %s was changed by somebody else; retry", before.id));
}

std::string EventSnapshot(const JobRecord& record) {
  QuantJob job = record.job;
  job.clear_spec();
  return job.SerializeAsString();
}

absl::Time QueueDeadline(const QuantJob& job) {
  if (job.spec().queue_timeout_ms() <= 0) return absl::InfiniteFuture();
  return FromTimestamp(job.create_time()) + absl::Milliseconds(job.spec().queue_timeout_ms());
}

int64_t StoredBytes(const QuantJob& job) {
  return job.has_artifact() && !job.artifact().expired() ? job.artifact().size_bytes() : 0;
}

int64_t TimestampMicros(const google::protobuf::Timestamp& timestamp) {
  return absl::ToUnixMicros(FromTimestamp(timestamp));
}

void SetTimestamp(absl::Time time, google::protobuf::Timestamp* timestamp) {
  const absl::Time rounded = absl::FromUnixMicros(absl::ToUnixMicros(time));
  const int64_t seconds = absl::ToUnixSeconds(rounded);
  timestamp->set_seconds(seconds);
  timestamp->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rounded - absl::FromUnixSeconds(seconds))));
}

absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

std::string DeviceOf(const v1::QuantJobSpec& spec) {
  return spec.device().empty() ? "auto" : spec.device();
}

}  // namespace quantd
