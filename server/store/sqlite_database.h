// The SQL engine of one server: one SQLite file on a local disk, WAL, synchronous=FULL.
//
// One connection does every write and every checkpoint of the log; SQLite before 3.51.3 can lose committed pages when a
// commit and a checkpoint race on two. Other connections read. Concurrent writes share one sync (group_commit.h).
#ifndef QUANTD_SERVER_STORE_SQLITE_DATABASE_H_
#define QUANTD_SERVER_STORE_SQLITE_DATABASE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"
#include "server/store/sqlite_schema.h"

namespace quantd {

struct SqliteOptions {
  std::string path;  // of the file; created when absent
  Clock& clock;
  // Told of each commit how long it took and how many writes shared it; may be empty.
  std::function<void(double seconds, int writes)> on_commit = {};
  std::string vfs = {};  // SQLite's file system by name; empty: its own
  // Pages of the file that all connections keep in memory together: what the store adds to the process at most.
  int64_t cache_bytes = kDefaultCacheBytes;
};

// The caller sees to it that nobody else uses the file (DataDirectory). Creates or upgrades the tables. After an
// unclean stop the file is checked first. FAILED_PRECONDITION DATA_DIRECTORY_TOO_NEW, STORE_OF_ANOTHER_APPLICATION;
// DATA_LOSS STORE_CORRUPT.
absl::StatusOr<std::unique_ptr<SqlDatabase>> OpenSqliteDatabase(const SqliteOptions& options);

// The job store in {data_directory}/quantd.db.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(
    const std::string& data_directory, Clock& clock, std::function<void(double seconds, int writes)> on_commit = {},
    int64_t cache_bytes = kDefaultCacheBytes);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_DATABASE_H_
