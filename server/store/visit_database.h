// The job database of a service for programs that look at it, also while its servers are at work: `quantd fsck` and
// `quantd retention --dry-run`.
#ifndef QUANTD_SERVER_STORE_VISIT_DATABASE_H_
#define QUANTD_SERVER_STORE_VISIT_DATABASE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/store/sql_database.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

struct VisitOptions {
  std::string data_directory = {};  // SQLite's file is in it
  std::string dsn = {};             // of PostgreSQL; empty: SQLite
  Clock& clock;                     // of SQLite
};

// Nothing is made, upgraded or recovered. Of SQLite only Read works: Write is FAILED_PRECONDITION STORE_READ_ONLY.
// Statements may take minutes. NOT_FOUND DATABASE_MISSING; FAILED_PRECONDITION DATA_DIRECTORY_OLD, STORE_TOO_OLD (a
// server upgrades it), DATA_DIRECTORY_TOO_NEW, STORE_TOO_NEW, STORE_OF_ANOTHER_APPLICATION; those of
// ConnectPostgresDatabase.
absl::StatusOr<std::unique_ptr<SqlDatabase>> VisitDatabase(const VisitOptions& options);

// FAILED_PRECONDITION DATA_DIRECTORY_OLD unless the file has the tables that this program knows.
absl::Status CheckSqliteVersion(SqliteConnection& connection, const std::string& path);
// {data_directory}/quantd.db; NOT_FOUND DATABASE_MISSING.
absl::StatusOr<std::string> FindSqliteFile(const std::string& data_directory);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_VISIT_DATABASE_H_
