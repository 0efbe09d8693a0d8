#include "server/store/job_queries.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

using v1::QuantJob;

constexpr JobState kStates[] = {QuantJob::QUEUED,   QuantJob::RUNNING, QuantJob::CANCELLING, QuantJob::SUCCEEDED,
                                QuantJob::REJECTED, QuantJob::FAILED,  QuantJob::CANCELLED};

absl::StatusOr<JobRecord> ReadJobWith(SqlConnection& connection, absl::string_view id, const std::string& sql) {
  const auto query = connection.Prepare(sql);
  query->BindText(1, id);
  ASSIGN_OR_RETURN(std::optional<JobRecord> record, ReadOneJob(*query));
  if (record.has_value()) return *std::move(record);
  return ReasonError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
                     absl::StrFormat("there is no job '%s'; list the jobs to see their names", id));
}

// A page of jobs. Each index ends with the sequence after columns that must be equal, so a list with several values of
// one is a query for each: it gives its newest `limit` jobs, and the page is the newest of all those.
class ListReader {
 public:
  ListReader(SqlConnection& connection, const JobQuery& query) : connection_(connection), query_(query) {}

  absl::StatusOr<std::vector<JobRecord>> Read() {
    if (!query_.models.empty()) {
      RETURN_IF_ERROR(AddByText("model", query_.models));
    } else if (!query_.presets.empty()) {
      RETURN_IF_ERROR(AddByText("preset", query_.presets));
    } else if (!query_.states.empty()) {
      RETURN_IF_ERROR(AddByState("", nullptr));
    } else {
      RETURN_IF_ERROR(Add("", nullptr));
    }
    return Newest();
  }

 private:
  absl::Status AddByText(absl::string_view column, const std::vector<std::string>& values) {
    for (const std::string& value : values) RETURN_IF_ERROR(AddByState(absl::StrCat(" AND ", column, " = ?4"), &value));
    return absl::OkStatus();
  }

  // One query for each state asked for, or for each there is.
  absl::Status AddByState(const std::string& term, const std::string* value) {
    const absl::Span<const JobState> states =
        query_.states.empty() ? absl::MakeConstSpan(kStates) : absl::MakeConstSpan(query_.states);
    for (const JobState state : states) {
      RETURN_IF_ERROR(Add(absl::StrCat(term, " AND state = ", static_cast<int>(state)), value));
    }
    return absl::OkStatus();
  }

  // `driving_term` may use parameter 4, which is then `value`.
  absl::Status Add(absl::string_view driving_term, const std::string* value) {
    texts_.clear();
    if (value != nullptr) texts_.push_back(*value);
    std::string where = absl::StrCat("WHERE tenant = ?1 AND sequence < ?2", driving_term);
    if (!query_.show_deleted) absl::StrAppend(&where, " AND delete_us IS NULL");
    Restrict("preset", query_.presets, where);
    Restrict("model", query_.models, where);
    const auto statement = connection_.PrepareOnce(SelectJobs(absl::StrCat(where, " ORDER BY sequence DESC LIMIT ?3")));
    statement->BindText(1, query_.tenant);
    statement->Bind(2, query_.before_sequence > 0 ? query_.before_sequence : INT64_MAX).Bind(3, query_.limit);
    for (size_t i = 0; i < texts_.size(); ++i) statement->BindText(4 + static_cast<int>(i), texts_[i]);
    ASSIGN_OR_RETURN(std::vector<JobRecord> jobs, ReadAllJobs(*statement));
    jobs_.insert(jobs_.end(), std::make_move_iterator(jobs.begin()), std::make_move_iterator(jobs.end()));
    return absl::OkStatus();
  }

  void Restrict(absl::string_view column, const std::vector<std::string>& values, std::string& where) {
    if (values.empty()) return;
    std::vector<std::string> names;
    for (const std::string& value : values) {
      names.push_back(absl::StrCat("?", 4 + texts_.size()));
      texts_.push_back(value);
    }
    absl::StrAppend(&where, " AND ", column, " IN (", absl::StrJoin(names, ", "), ")");
  }

  std::vector<JobRecord> Newest() {
    std::sort(jobs_.begin(), jobs_.end(),
              [](const JobRecord& a, const JobRecord& b) { return a.sequence > b.sequence; });
    const auto same = [](const JobRecord& a, const JobRecord& b) { return a.sequence == b.sequence; };
    jobs_.erase(std::unique(jobs_.begin(), jobs_.end(), same), jobs_.end());  // a value may be given twice
    if (jobs_.size() > static_cast<size_t>(query_.limit)) jobs_.resize(static_cast<size_t>(query_.limit));
    return std::move(jobs_);
  }

  SqlConnection& connection_;
  const JobQuery& query_;
  std::vector<std::string> texts_;  // of parameters 4 and on
  std::vector<JobRecord> jobs_;
};

}  // namespace

absl::StatusOr<JobRecord> ReadJob(SqlConnection& connection, absl::string_view id) {
  return ReadJobWith(connection, id, SelectJobs("WHERE id = ?1"));
}

absl::StatusOr<JobRecord> ReadJobForUpdate(SqlConnection& connection, absl::string_view id) {
  const bool locks = connection.dialect() == SqlDialect::kPostgres;
  return ReadJobWith(connection, id, SelectJobs(locks ? "WHERE id = ?1 FOR UPDATE" : "WHERE id = ?1"));
}

absl::StatusOr<std::vector<JobRecord>> ReadJobs(SqlConnection& connection, const JobQuery& query) {
  return ListReader(connection, query).Read();
}

absl::StatusOr<std::vector<JobRecord>> ReadLeased(SqlConnection& connection, absl::string_view worker) {
  const auto statement = connection.Prepare(SelectJobs(
      "WHERE lease_deadline_us IS NOT NULL AND (?1 = '' OR worker = ?1) ORDER BY lease_deadline_us, sequence"));
  statement->BindText(1, worker);
  return ReadAllJobs(*statement);
}

absl::StatusOr<std::vector<JobRecord>> ReadLeaseExpired(SqlConnection& connection, absl::Time now, int limit) {
  const auto statement =
      connection.Prepare(SelectJobs("WHERE lease_deadline_us <= ?1 ORDER BY lease_deadline_us, sequence LIMIT ?2"));
  statement->Bind(1, absl::ToUnixMicros(now)).Bind(2, limit);
  return ReadAllJobs(*statement);
}

absl::StatusOr<std::vector<JobRecord>> ReadOverdue(SqlConnection& connection, absl::Time now, int limit) {
  std::vector<JobRecord> overdue;
  for (const char* where : {"WHERE queue_deadline_us <= ?1 ORDER BY queue_deadline_us LIMIT ?2",
                            "WHERE run_deadline_us <= ?1 ORDER BY run_deadline_us LIMIT ?2"}) {
    const auto statement = connection.Prepare(SelectJobs(where));
    statement->Bind(1, absl::ToUnixMicros(now)).Bind(2, limit - static_cast<int64_t>(overdue.size()));
    ASSIGN_OR_RETURN(const std::vector<JobRecord> jobs, ReadAllJobs(*statement));
    overdue.insert(overdue.end(), jobs.begin(), jobs.end());
  }
  return overdue;
}

absl::StatusOr<std::optional<v1::QuantReport>> ReadReport(SqlConnection& connection, absl::string_view id) {
  const auto query =
      connection.Prepare("SELECT report FROM reports JOIN jobs ON reports.job = jobs.sequence WHERE jobs.id = ?1");
  query->BindText(1, id);
  ASSIGN_OR_RETURN(const bool row, query->Step());
  if (!row) return std::nullopt;
  v1::QuantReport report;
  if (report.ParseFromString(query->Bytes(0))) return report;
  return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrFormat("the report of job %s does not parse", id));
}

}  // namespace quantd
