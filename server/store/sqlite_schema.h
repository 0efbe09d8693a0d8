// Version and settings of the SQLite file.
#ifndef QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_
#define QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_

#include <string>

#include "absl/status/status.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

// "qntd": says whose file it is.
inline constexpr int kSqliteApplicationId = 0x716e7464;

// Settings of the one connection that writes: WAL, synchronous=FULL (a commit is on disk when it returns), checkpoints
// only when asked for.
absl::Status ConfigureWriter(SqliteConnection& connection);
// Readers cannot write and never checkpoint.
absl::Status ConfigureReader(SqliteConnection& connection);

// FAILED_PRECONDITION DATA_DIRECTORY_TOO_NEW when a later quantd wrote the file, STORE_OF_ANOTHER_APPLICATION when
// another program did. Reads only.
absl::Status CheckOwner(SqliteConnection& connection, const std::string& path);

// DATA_LOSS STORE_CORRUPT when SQLite finds the file damaged. Reads all of it.
absl::Status CheckIntegrity(SqliteConnection& connection, const std::string& path);

// Creates or upgrades the tables to kSchemaVersion in one transaction.
absl::Status MigrateSqlite(SqliteConnection& connection);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_
