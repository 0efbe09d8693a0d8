// Version and settings of the SQLite file.
#ifndef QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_
#define QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

// "qntd": says whose file it is.
inline constexpr int kSqliteApplicationId = 0x716e7464;

// Of all connections of a server together. Pages that are not among them come from the system's cache: measured, 4 and
// 128 MiB make no difference to submits and lists beside 40,000 queued jobs.
inline constexpr int64_t kDefaultCacheBytes = int64_t{4} << 20;

// Settings of the one connection that writes: WAL, synchronous=FULL (a commit is on disk when it returns), checkpoints
// only when asked for. It keeps `cache_bytes` of pages at most.
absl::Status ConfigureWriter(SqliteConnection& connection, int64_t cache_bytes = kDefaultCacheBytes / 2);
// Readers cannot write and never checkpoint.
absl::Status ConfigureReader(SqliteConnection& connection, int64_t cache_bytes = kDefaultCacheBytes / 2);

// FAILED_PRECONDITION DATA_DIRECTORY_TOO_NEW when a later quantd wrote the file, STORE_OF_ANOTHER_APPLICATION when
// another program did. Reads only.
absl::Status CheckOwner(SqliteConnection& connection, const std::string& path);

// DATA_LOSS STORE_CORRUPT when SQLite finds the file damaged. Reads all of it.
absl::Status CheckIntegrity(SqliteConnection& connection, const std::string& path);

// Creates or upgrades the tables to kSchemaVersion in one transaction.
absl::Status MigrateSqlite(SqliteConnection& connection);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_SCHEMA_H_
