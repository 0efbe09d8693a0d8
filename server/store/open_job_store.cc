#include "server/store/open_job_store.h"

#include "core/base/status.h"
#include "server/store/postgres_database.h"
#include "server/store/postgres_schema.h"
#include "server/store/sql_job_store.h"
#include "server/store/sql_schema.h"
#include "server/store/sqlite_database.h"

namespace quantd {

absl::StatusOr<std::unique_ptr<SqlDatabase>> OpenPostgresDatabase(const JobStoreOptions& options) {
  PostgresOptions postgres = {.dsn = options.dsn, .on_commit = options.on_commit};
  postgres.pool.size = options.connections;
  ASSIGN_OR_RETURN(std::unique_ptr<SqlDatabase> database, ConnectPostgresDatabase(postgres));
  RETURN_IF_ERROR(PreparePostgresSchema(*database, {kSchemaVersion, SchemaSql(SqlDialect::kPostgres)}));
  return database;
}

absl::StatusOr<std::unique_ptr<JobStore>> OpenJobStore(const JobStoreOptions& options) {
  if (options.dsn.empty()) {
    return OpenSqliteJobStore(options.data_directory, options.clock, options.on_commit, options.cache_bytes);
  }
  ASSIGN_OR_RETURN(std::unique_ptr<SqlDatabase> database, OpenPostgresDatabase(options));
  return NewSqlJobStore(std::move(database));
}

}  // namespace quantd
