#include "server/store/event_log.h"

#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/job_queries.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

absl::Status CheckNotCompacted(const JobRecord& record, int64_t revision) {
  if (revision == 0 || revision >= record.compacted_revision) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED",
                     absl::StrFormat("the events of job %s up to revision %d have been dropped, %d is older; begin "
                                     "again at revision 0",
                                     record.id, record.compacted_revision, revision));
}

struct OldEvents {
  int64_t count = 0;
  int64_t last_revision = 0;
  std::map<int64_t, int64_t> last_by_job;  // sequence of the job -> its newest revision among them
};

// The oldest events as far as they are older than `before`. Revisions grow with time (up to the few transactions that
// run at once), so only `limit` rows are looked at.
absl::StatusOr<OldEvents> FindOldEvents(SqlConnection& connection, absl::Time before, int limit) {
  OldEvents old;
  const auto query = connection.Prepare("SELECT revision, job, time_us FROM events ORDER BY revision LIMIT ?1");
  query->Bind(1, limit);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row || query->Int(2) >= absl::ToUnixMicros(before)) return old;
    ++old.count;
    old.last_revision = query->Int(0);
    old.last_by_job[query->Int(1)] = query->Int(0);
  }
}

}  // namespace

absl::StatusOr<int64_t> NextRevision(SqlConnection& connection) {
  const auto next = connection.dialect() == SqlDialect::kPostgres
                        ? connection.Prepare("SELECT nextval('revisions')")
                        : connection.Prepare(
                              "UPDATE counters SET value = value + 1 WHERE name = 'revision' "
                              "RETURNING value");
  RETURN_IF_ERROR(next->Step().status());
  const int64_t revision = next->Int(0);
  RETURN_IF_ERROR(next->Run());
  return revision;
}

absl::StatusOr<int64_t> ReadLastRevision(SqlConnection& connection) {
  const auto query = connection.dialect() == SqlDialect::kPostgres
                         ? connection.Prepare("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM revisions")
                         : connection.Prepare("SELECT value FROM counters WHERE name = 'revision'");
  RETURN_IF_ERROR(query->Step().status());
  return query->Int(0);
}

absl::Status InsertEvent(SqlConnection& connection, const JobRecord& record, absl::Time now) {
  const auto insert =
      connection.Prepare("INSERT INTO events (revision, job, state, time_us, snapshot) VALUES (?1, ?2, ?3, ?4, ?5)");
  insert->Bind(1, record.job.revision()).Bind(2, record.sequence).Bind(3, record.job.state());
  return insert->Bind(4, absl::ToUnixMicros(now)).BindBlob(5, EventSnapshot(record)).Run();
}

absl::StatusOr<std::vector<v1::QuantJob>> ReadChangesAfter(SqlConnection& connection, absl::string_view id,
                                                           int64_t revision) {
  // The job first: a change that commits between the two reads is then among the events.
  ASSIGN_OR_RETURN(const JobRecord record, ReadJob(connection, id));
  RETURN_IF_ERROR(CheckNotCompacted(record, revision));
  std::vector<v1::QuantJob> changes;
  const auto query =
      connection.Prepare("SELECT snapshot FROM events WHERE job = ?1 AND revision > ?2 ORDER BY revision");
  query->Bind(1, record.sequence).Bind(2, revision);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) break;
    v1::QuantJob& job = changes.emplace_back();
    if (!job.ParseFromString(query->Bytes(0))) {
      return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                         absl::StrFormat("an event of job %s does not parse", id));
    }
    *job.mutable_spec() = record.job.spec();
  }
  const int64_t last = changes.empty() ? revision : changes.back().revision();
  if (record.job.revision() > last) changes.push_back(record.job);
  return changes;
}

absl::StatusOr<int64_t> DeleteOldEvents(SqlConnection& connection, absl::Time before, int limit) {
  ASSIGN_OR_RETURN(const OldEvents old, FindOldEvents(connection, before, limit));
  for (const auto& [job, revision] : old.last_by_job) {
    const auto mark = connection.Prepare("UPDATE jobs SET compacted_revision = ?2 WHERE sequence = ?1");
    RETURN_IF_ERROR(mark->Bind(1, job).Bind(2, revision).Run());
  }
  const auto drop = connection.Prepare("DELETE FROM events WHERE revision <= ?1");
  RETURN_IF_ERROR(drop->Bind(1, old.last_revision).Run());
  return old.count;
}

}  // namespace quantd
