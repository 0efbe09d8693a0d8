#include "server/store/job_queries.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"
#include "server/store/request_digest.h"

namespace quantd {
namespace {

std::string SelectJobs(absl::string_view rest) {
  return absl::StrCat("SELECT ", kJobColumns, " FROM jobs ", rest);
}

// "?3, ?4, ?5": `count` parameters from `first` on.
std::string Placeholders(int first, size_t count) {
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.push_back(absl::StrCat("?", first + static_cast<int>(i)));
  return absl::StrJoin(names, ", ");
}

absl::StatusOr<std::vector<JobRecord>> ReadAll(Statement& statement) {
  std::vector<JobRecord> records;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return records;
    ASSIGN_OR_RETURN(JobRecord record, ReadJobRow(statement));
    records.push_back(std::move(record));
  }
}

absl::StatusOr<std::optional<JobRecord>> ReadOne(Statement& statement) {
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return std::nullopt;
  ASSIGN_OR_RETURN(JobRecord record, ReadJobRow(statement));
  return record;
}

// The WHERE terms of a list and the values of their parameters, both in order.
struct Restriction {
  std::string sql = "sequence < ?1";
  std::vector<std::string> texts;

  void Add(absl::string_view column, const std::vector<std::string>& values) {
    if (values.empty()) return;
    const int first = 2 + static_cast<int>(texts.size());
    absl::StrAppend(&sql, " AND ", column, " IN (", Placeholders(first, values.size()), ")");
    texts.insert(texts.end(), values.begin(), values.end());
  }
};

std::string StateList(const std::vector<JobState>& states) {
  return absl::StrJoin(states, ", ",
                       [](std::string* out, JobState state) { absl::StrAppend(out, static_cast<int>(state)); });
}

}  // namespace

absl::StatusOr<JobRecord> ReadJob(SqliteConnection& connection, absl::string_view id) {
  Statement query = connection.Prepare(SelectJobs("WHERE id = ?1"));
  query.BindText(1, id);
  ASSIGN_OR_RETURN(std::optional<JobRecord> record, ReadOne(query));
  if (record.has_value()) return *std::move(record);
  return ReasonError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
                     absl::StrFormat("there is no job '%s'; list the jobs to see their names", JobName(id)));
}

absl::StatusOr<std::vector<JobRecord>> ReadJobs(SqliteConnection& connection, const JobQuery& query) {
  Restriction where;
  if (!query.states.empty()) absl::StrAppend(&where.sql, " AND state IN (", StateList(query.states), ")");
  where.Add("preset", query.presets);
  where.Add("model", query.models);
  Statement statement = connection.PrepareOnce(
      SelectJobs(absl::StrCat("WHERE ", where.sql, " ORDER BY sequence DESC LIMIT ", query.limit)));
  statement.Bind(1, query.before_sequence > 0 ? query.before_sequence : INT64_MAX);
  for (size_t i = 0; i < where.texts.size(); ++i) statement.BindText(2 + static_cast<int>(i), where.texts[i]);
  return ReadAll(statement);
}

absl::StatusOr<std::optional<JobRecord>> ReadFirstClaimable(SqliteConnection& connection, const ClaimQuery& query) {
  Statement statement = connection.PrepareOnce(SelectJobs(absl::StrCat(
      "WHERE state = 1 AND (run_after_us IS NULL OR run_after_us <= ?1) AND (device = 'auto' OR device IN (",
      Placeholders(2, query.devices.size()), ")) ORDER BY sequence LIMIT 1")));
  statement.Bind(1, absl::ToUnixMicros(query.now));
  for (size_t i = 0; i < query.devices.size(); ++i) statement.BindText(2 + static_cast<int>(i), query.devices[i]);
  return ReadOne(statement);
}

absl::StatusOr<std::vector<JobRecord>> ReadLeased(SqliteConnection& connection, absl::string_view worker) {
  Statement statement = connection.Prepare(SelectJobs(
      "WHERE lease_deadline_us IS NOT NULL AND (?1 = '' OR worker = ?1) ORDER BY lease_deadline_us, sequence"));
  statement.BindText(1, worker);
  return ReadAll(statement);
}

absl::StatusOr<std::vector<v1::QuantJob>> ReadChangesAfter(SqliteConnection& connection, absl::string_view id,
                                                           int64_t revision) {
  // The job first: a change that commits between the two reads is then among the events.
  ASSIGN_OR_RETURN(const JobRecord record, ReadJob(connection, id));
  std::vector<v1::QuantJob> changes;
  Statement query =
      connection.Prepare("SELECT snapshot FROM events WHERE job = ?1 AND revision > ?2 ORDER BY revision");
  query.Bind(1, record.sequence).Bind(2, revision);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) break;
    v1::QuantJob& job = changes.emplace_back();
    if (!job.ParseFromString(query.Bytes(0))) {
      return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                         absl::StrFormat("an event of job %s does not parse", id));
    }
    *job.mutable_spec() = record.job.spec();
  }
  const int64_t last = changes.empty() ? revision : changes.back().revision();
  if (record.job.revision() > last) changes.push_back(record.job);
  return changes;
}

absl::StatusOr<int64_t> ReadLastRevision(SqliteConnection& connection) {
  Statement query = connection.Prepare("SELECT value FROM counters WHERE name = 'revision'");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<std::optional<v1::QuantReport>> ReadReport(SqliteConnection& connection, absl::string_view id) {
  Statement query =
      connection.Prepare("SELECT report FROM reports JOIN jobs ON reports.job = jobs.sequence WHERE jobs.id = ?1");
  query.BindText(1, id);
  ASSIGN_OR_RETURN(const bool row, query.Step());
  if (!row) return std::nullopt;
  v1::QuantReport report;
  if (report.ParseFromString(query.Bytes(0))) return report;
  return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrFormat("the report of job %s does not parse", id));
}

absl::StatusOr<std::map<JobState, int64_t>> ReadCountByState(SqliteConnection& connection) {
  std::map<JobState, int64_t> counts;
  Statement query = connection.Prepare("SELECT state, COUNT(*) FROM jobs GROUP BY state");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return counts;
    counts[static_cast<JobState>(query.Int(0))] = query.Int(1);
  }
}

absl::StatusOr<QueueSummary> ReadQueueSummary(SqliteConnection& connection) {
  QueueSummary summary;
  Statement query =
      connection.Prepare("SELECT device, COUNT(*), MIN(create_us) FROM jobs WHERE state = 1 GROUP BY device");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return summary;
    summary.waiting_by_device[query.Bytes(0)] = query.Int(1);
    summary.oldest_create_time = std::min(summary.oldest_create_time, absl::FromUnixMicros(query.Int(2)));
  }
}

absl::StatusOr<std::optional<JobRecord>> MatchRequest(SqliteConnection& connection, absl::string_view request_id,
                                                      const v1::QuantJobSpec& spec) {
  if (request_id.empty()) return std::nullopt;
  Statement query = connection.Prepare(SelectJobs("WHERE sequence = (SELECT job FROM requests WHERE request_id = ?1)"));
  query.BindText(1, request_id);
  ASSIGN_OR_RETURN(std::optional<JobRecord> known, ReadOne(query));
  if (!known.has_value()) return known;
  const std::string difference = FirstDifference(known->job.spec(), spec);
  if (difference.empty()) return known;
  const std::string field = absl::StrCat("spec.", difference);
  return WithField(
      ReasonError(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                  absl::StrFormat("request_id %s was used for job %s, whose %s differs; a new job needs a new id",
                                  request_id, known->job.name(), field)),
      field);
}

absl::Status CheckQueueLimit(SqliteConnection& connection, int64_t max_queued) {
  if (max_queued <= 0) return absl::OkStatus();
  Statement query = connection.Prepare("SELECT COUNT(*) FROM jobs WHERE state = 1");
  RETURN_IF_ERROR(query.Step().status());
  if (query.Int(0) < max_queued) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kResourceExhausted, "QUOTA_QUEUED_JOBS",
                     absl::StrFormat("%d jobs are queued already, the limit is %d; retry when some have finished",
                                     query.Int(0), max_queued));
}

}  // namespace quantd
