// Tables of the job database and their versions.
#ifndef QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_
#define QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_

#include "absl/status/status.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

inline constexpr int kSchemaVersion = 1;

// Settings of the one connection that writes: WAL, synchronous=FULL. A commit is then on disk when it returns.
absl::Status ConfigureWriter(SqliteConnection& connection);

// Readers cannot write and never checkpoint: commit and checkpoint share one connection (SQLite before 3.44.6 can lose
// committed pages when they race on two).
absl::Status ConfigureReader(SqliteConnection& connection);

// Creates or upgrades the tables to kSchemaVersion in one transaction. FAILED_PRECONDITION DATA_DIRECTORY_TOO_NEW when
// a later quantd wrote the database: nothing is changed.
absl::Status MigrateSchema(SqliteConnection& connection, const std::string& data_directory);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_
