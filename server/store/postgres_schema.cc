#include "server/store/postgres_schema.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// Any number does that no other application of the same database uses; advisory locks are per database.
constexpr char kLock[] = "SELECT pg_advisory_xact_lock(7433943320230125)";
constexpr char kVersionTable[] =
    "CREATE TABLE quantd_schema (version BIGINT NOT NULL, migrate_time TIMESTAMPTZ NOT NULL DEFAULT now())";

absl::StatusOr<std::string> FirstText(SqlConnection& connection, const std::string& sql) {
  const auto query = connection.PrepareOnce(sql);
  ASSIGN_OR_RETURN(const bool row, query->Step());
  return row ? query->Bytes(0) : std::string();
}

absl::Status Refusal(absl::string_view reason, const std::string& message) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, reason, message);
}

absl::Status CheckEmpty(SqlConnection& connection) {
  ASSIGN_OR_RETURN(const std::string tables,
                   FirstText(connection,
                             "SELECT string_agg(name, ', ') FROM (SELECT relname::text AS name FROM pg_class WHERE "
                             "relkind IN ('r', 'p', 'v', 'm') AND relnamespace = current_schema()::regnamespace "
                             "ORDER BY relname LIMIT 3) AS found"));
  if (tables.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string name, FirstText(connection, "SELECT current_database()::text"));
  return Refusal("STORE_OF_ANOTHER_APPLICATION",
                 absl::StrFormat("database %s has tables that are not quantd's (%s); give quantd a database of its "
                                 "own: createdb --owner ROLE quantd",
                                 name, tables));
}

absl::Status Create(SqlConnection& connection, const PostgresSchema& schema) {
  RETURN_IF_ERROR(CheckEmpty(connection));
  RETURN_IF_ERROR(connection.Execute(kVersionTable));
  const auto insert = connection.PrepareOnce("INSERT INTO quantd_schema (version) VALUES (?1)");
  RETURN_IF_ERROR(insert->Bind(1, schema.version).Run());
  return connection.Execute(schema.create_sql);
}

absl::Status CheckVersion(SqlConnection& connection, int64_t known) {
  const auto query = connection.PrepareOnce("SELECT COALESCE(max(version), 0) FROM quantd_schema");
  RETURN_IF_ERROR(query->Step().status());
  const int64_t version = query->Int(0);
  if (version == known) return absl::OkStatus();
  const bool newer = version > known;
  return Refusal(newer ? "STORE_TOO_NEW" : "STORE_TOO_OLD",
                 absl::StrFormat("the database was written by %s quantd (schema %d, this one knows %d); run that "
                                 "version or give this one another database",
                                 newer ? "a newer" : "an older", version, known));
}

absl::StatusOr<bool> HasTables(SqlConnection& connection) {
  ASSIGN_OR_RETURN(const std::string table, FirstText(connection, "SELECT to_regclass('quantd_schema')::text"));
  return !table.empty();
}

}  // namespace

absl::Status CheckPostgresSchema(SqlConnection& connection, int64_t version) {
  ASSIGN_OR_RETURN(const bool there, HasTables(connection));
  if (there) return CheckVersion(connection, version);
  return ReasonError(absl::StatusCode::kNotFound, "DATABASE_MISSING",
                     "the PostgreSQL database has no tables of quantd; name the one of a server with --store-dsn");
}

absl::Status PreparePostgresSchema(SqlDatabase& database, const PostgresSchema& schema) {
  return database.Write(DurableStep::kMigrate, [&](SqlConnection& connection) -> absl::Status {
    RETURN_IF_ERROR(connection.PrepareOnce(kLock)->Run());
    ASSIGN_OR_RETURN(const bool there, HasTables(connection));
    return there ? CheckVersion(connection, schema.version) : Create(connection, schema);
  });
}

}  // namespace quantd
