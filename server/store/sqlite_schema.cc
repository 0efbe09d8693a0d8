#include "server/store/sqlite_schema.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/durable_step.h"
#include "core/base/status.h"
#include "server/store/audit_log.h"
#include "server/store/job_rows.h"
#include "server/store/retention_queries.h"
#include "server/store/sql_schema.h"

namespace quantd {
namespace {

// Version 1 had one tenant, no priorities and no retention. Its tables are moved aside, the new ones are filled from
// them, and they go.
constexpr char kMoveVersion1[] = R"sql(
DROP INDEX jobs_by_state;
DROP INDEX jobs_by_deadline;
DROP INDEX events_by_job;
ALTER TABLE jobs RENAME TO jobs_1;
ALTER TABLE events RENAME TO events_1;
ALTER TABLE requests RENAME TO requests_1;
ALTER TABLE reports RENAME TO reports_1;
ALTER TABLE counters RENAME TO counters_1;
)sql";

constexpr char kCopyVersion1[] = R"sql(
INSERT INTO jobs (sequence, id, tenant, state, preset, model, device, rank_us, memory_bytes, disk_bytes, revision, fence,
                  attempt, worker, incarnation, lost_on, create_us, start_us, end_us, lease_deadline_us, run_after_us,
                  stored_bytes, spec, progress, error, artifact)
  SELECT sequence, id, 'default', state, preset, model, device, create_us, 0, 0, revision, fence,
         attempt, worker, incarnation, '', create_us, start_us, end_us, lease_deadline_us, run_after_us,
         0, spec, progress, error, artifact FROM jobs_1;
INSERT INTO events (revision, job, state, time_us, snapshot) SELECT revision, job, state, time_us, snapshot FROM events_1;
INSERT INTO requests (tenant, request_id, job, create_us)
  SELECT 'default', request_id, job, create_us FROM requests_1;
INSERT INTO reports (job, report) SELECT job, report FROM reports_1;
UPDATE counters SET value = (SELECT value FROM counters_1 WHERE name = 'revision') WHERE name = 'revision';
DROP TABLE counters_1;
DROP TABLE reports_1;
DROP TABLE requests_1;
DROP TABLE events_1;
DROP TABLE jobs_1;
)sql";

constexpr char kTallyVersion1[] = R"sql(
INSERT INTO tallies (state, tenant, device, shard, jobs, bytes)
  SELECT state, tenant, device, 0, COUNT(*), SUM(stored_bytes) FROM jobs GROUP BY state, tenant, device;
)sql";

// What SQL cannot read out of the stored messages.
absl::Status CompleteArtifacts(SqliteConnection& connection) {
  const auto select = connection.PrepareOnce(SelectJobs("WHERE artifact IS NOT NULL"));
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<JobRecord> record, ReadOneJob(*select));
    if (!record.has_value()) return absl::OkStatus();
    RETURN_IF_ERROR(UpdateFileReferences(connection, nullptr, *record));
    const auto update = connection.Prepare("UPDATE jobs SET stored_bytes = ?2 WHERE sequence = ?1");
    RETURN_IF_ERROR(update->Bind(1, record->sequence).Bind(2, StoredBytes(record->job)).Run());
  }
}

absl::Status UpgradeVersion1(SqliteConnection& connection) {
  RETURN_IF_ERROR(connection.Execute(kMoveVersion1));
  RETURN_IF_ERROR(connection.Execute(SchemaSql(SqlDialect::kSqlite)));
  RETURN_IF_ERROR(connection.Execute(kCopyVersion1));
  RETURN_IF_ERROR(CompleteArtifacts(connection));
  RETURN_IF_ERROR(connection.Execute(kTallyVersion1));
  const AuditNote note = {.actor = "quantd", .action = "migrate", .detail = "tables of version 1 became version 2"};
  return InsertServiceAudit(connection, note, absl::Now());
}

absl::Status MigrateInTransaction(SqliteConnection& connection, int64_t version) {
  RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(version == 0 ? connection.Execute(SchemaSql(SqlDialect::kSqlite)) : UpgradeVersion1(connection));
  RETURN_IF_ERROR(connection.Execute(
      absl::StrCat("PRAGMA user_version = ", kSchemaVersion, "; PRAGMA application_id = ", kSqliteApplicationId)));
  return connection.Execute("COMMIT");  // Durable step: migrate.commit.
}

absl::Status Foreign(const std::string& path) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "STORE_OF_ANOTHER_APPLICATION",
                     absl::StrFormat("%s is the database of another application; it was left alone. Choose another "
                                     "directory with --data-dir",
                                     path));
}

// SQLite counts in KiB when the number is negative, in pages otherwise.
std::string CacheSize(int64_t bytes) {
  return absl::StrCat(" PRAGMA cache_size = -", bytes >> 10, ";");
}

// Version 1 did not say whose file it is: its tables do.
absl::StatusOr<bool> LooksLikeVersion1(SqliteConnection& connection) {
  ASSIGN_OR_RETURN(const int64_t tables,
                   connection.QueryInt("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN "
                                       "('jobs', 'events', 'requests', 'reports', 'counters')"));
  return tables == 5;
}

}  // namespace

absl::Status ConfigureWriter(SqliteConnection& connection, int64_t cache_bytes) {
  return connection.Execute(absl::StrCat(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; "
      "PRAGMA temp_store = MEMORY;",
      CacheSize(cache_bytes)));
}

absl::Status ConfigureReader(SqliteConnection& connection, int64_t cache_bytes) {
  return connection.Execute(
      absl::StrCat("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;", CacheSize(cache_bytes)));
}

absl::Status CheckOwner(SqliteConnection& connection, const std::string& path) {
  ASSIGN_OR_RETURN(const int64_t version, connection.QueryInt("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const int64_t application, connection.QueryInt("PRAGMA application_id"));
  if (application != 0 && application != kSqliteApplicationId) return Foreign(path);
  if (version > kSchemaVersion) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_TOO_NEW",
                       absl::StrFormat("%s was written by a newer quantd (schema %d, this one knows %d); "
                                       "run that version or choose another directory with --data-dir",
                                       path, version, kSchemaVersion));
  }
  if (application == kSqliteApplicationId) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t objects, connection.QueryInt("SELECT COUNT(*) FROM sqlite_master"));
  if (version == 0 && objects == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool version1, LooksLikeVersion1(connection));
  return version == 1 && version1 ? absl::OkStatus() : Foreign(path);
}

absl::Status CheckIntegrity(SqliteConnection& connection, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string found, connection.QueryText("PRAGMA quick_check(1)"));
  if (found == "ok") return absl::OkStatus();
  return ReasonError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrFormat("%s: %s; restore the data directory from a backup", path, found));
}

absl::Status MigrateSqlite(SqliteConnection& connection) {
  ASSIGN_OR_RETURN(const int64_t version, connection.QueryInt("PRAGMA user_version"));
  if (version == kSchemaVersion) return absl::OkStatus();
  const absl::Status status =
      RunDurableStep(DurableStep::kMigrate, [&] { return MigrateInTransaction(connection, version); });
  if (connection.in_transaction()) (void)connection.Execute("ROLLBACK");
  return status;
}

}  // namespace quantd
