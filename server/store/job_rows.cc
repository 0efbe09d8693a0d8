#include "server/store/job_rows.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

enum Column {
  kSequence,
  kId,
  kState,
  kRevision,
  kFence,
  kAttempt,
  kWorker,
  kIncarnation,
  kCreate,
  kStart,
  kEnd,
  kLeaseDeadline,
  kRunAfter,
  kSpec,
  kProgress,
  kError,
  kArtifact,
};

absl::Status ParseInto(const Statement& row, Column column, const char* what, google::protobuf::Message* message) {
  if (message->ParseFromString(row.Bytes(column))) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrFormat("job %s: its stored %s does not parse; restore the data directory from a backup",
                                     row.Bytes(kId), what));
}

// Absent messages are stored as NULL, present ones as bytes (which may be none).
bool IsNull(const Statement& row, Column column) {
  return !row.OptionalInt(column).has_value();
}

void BindMessage(Statement& statement, int index, bool present, const google::protobuf::Message& message) {
  if (present) {
    statement.BindBlob(index, message.SerializeAsString());
  } else {
    statement.BindNull(index);
  }
}

std::optional<int64_t> FiniteMicros(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return std::nullopt;
  return absl::ToUnixMicros(time);
}

std::optional<int64_t> OptionalMicros(bool present, const google::protobuf::Timestamp& timestamp) {
  return present ? std::optional<int64_t>(TimestampMicros(timestamp)) : std::nullopt;
}

absl::Time TimeOrPast(std::optional<int64_t> micros) {
  return micros.has_value() ? absl::FromUnixMicros(*micros) : absl::InfinitePast();
}

void ReadTime(const Statement& row, Column column, google::protobuf::Timestamp* out) {
  SetTimestamp(absl::FromUnixMicros(row.Int(column)), out);
}

// Parameters 1..13: everything that may change, in the order of both statements below.
void BindMutable(Statement& statement, const JobRecord& record) {
  const v1::QuantJob& job = record.job;
  statement.Bind(1, job.state()).Bind(2, job.revision()).Bind(3, record.fence).Bind(4, job.attempt());
  statement.BindText(5, job.worker()).BindText(6, record.incarnation);
  statement.BindOptional(7, OptionalMicros(job.has_start_time(), job.start_time()));
  statement.BindOptional(8, OptionalMicros(job.has_end_time(), job.end_time()));
  statement.BindOptional(9, FiniteMicros(record.lease_deadline)).BindOptional(10, FiniteMicros(record.run_after));
  BindMessage(statement, 11, job.has_progress(), job.progress());
  BindMessage(statement, 12, job.has_error(), job.error());
  BindMessage(statement, 13, job.has_artifact(), job.artifact());
}

}  // namespace

absl::StatusOr<JobRecord> ReadJobRow(const Statement& row) {
  JobRecord record;
  record.sequence = row.Int(kSequence);
  record.id = row.Bytes(kId);
  record.fence = row.Int(kFence);
  record.incarnation = row.Bytes(kIncarnation);
  record.lease_deadline = TimeOrPast(row.OptionalInt(kLeaseDeadline));
  record.run_after = TimeOrPast(row.OptionalInt(kRunAfter));
  v1::QuantJob& job = record.job;
  job.set_name(JobName(record.id));
  job.set_state(static_cast<JobState>(row.Int(kState)));
  job.set_revision(row.Int(kRevision));
  job.set_attempt(static_cast<int32_t>(row.Int(kAttempt)));
  job.set_worker(row.Bytes(kWorker));
  ReadTime(row, kCreate, job.mutable_create_time());
  if (!IsNull(row, kStart)) ReadTime(row, kStart, job.mutable_start_time());
  if (!IsNull(row, kEnd)) ReadTime(row, kEnd, job.mutable_end_time());
  RETURN_IF_ERROR(ParseInto(row, kSpec, "spec", job.mutable_spec()));
  if (!IsNull(row, kProgress)) RETURN_IF_ERROR(ParseInto(row, kProgress, "progress", job.mutable_progress()));
  if (!IsNull(row, kError)) RETURN_IF_ERROR(ParseInto(row, kError, "error", job.mutable_error()));
  if (!IsNull(row, kArtifact)) RETURN_IF_ERROR(ParseInto(row, kArtifact, "artifact", job.mutable_artifact()));
  return record;
}

absl::Status InsertJobRow(SqliteConnection& connection, JobRecord& record) {
  Statement insert = connection.Prepare(
      "INSERT INTO jobs (state, revision, fence, attempt, worker, incarnation, start_us, end_us, lease_deadline_us, "
      "run_after_us, progress, error, artifact, id, preset, model, device, create_us, spec) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)");
  const v1::QuantJobSpec& spec = record.job.spec();
  BindMutable(insert, record);
  insert.BindText(14, record.id).BindText(15, spec.recipe().preset()).BindText(16, spec.model());
  insert.BindText(17, DeviceOf(spec)).Bind(18, TimestampMicros(record.job.create_time()));
  insert.BindBlob(19, spec.SerializeAsString());
  RETURN_IF_ERROR(insert.Run());
  record.sequence = connection.last_insert_rowid();
  return absl::OkStatus();
}

absl::Status UpdateJobRow(SqliteConnection& connection, const JobRecord& before, const JobRecord& after) {
  Statement update = connection.Prepare(
      "UPDATE jobs SET state = ?1, revision = ?2, fence = ?3, attempt = ?4, worker = ?5, incarnation = ?6, "
      "start_us = ?7, end_us = ?8, lease_deadline_us = ?9, run_after_us = ?10, progress = ?11, error = ?12, "
      "artifact = ?13 WHERE sequence = ?14 AND state = ?15 AND fence = ?16 AND revision = ?17");
  BindMutable(update, after);
  update.Bind(14, before.sequence).Bind(15, before.job.state()).Bind(16, before.fence).Bind(17, before.job.revision());
  RETURN_IF_ERROR(update.Run());
  if (connection.changes() == 1) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kAborted, "STORE_CONFLICT",
                     absl::StrFormat("job %s was changed by somebody else; retry", before.id));
}

std::string EventSnapshot(const JobRecord& record) {
  v1::QuantJob job = record.job;
  job.clear_spec();
  return job.SerializeAsString();
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
