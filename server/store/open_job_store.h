// The job store that the settings ask for.
#ifndef QUANTD_SERVER_STORE_OPEN_JOB_STORE_H_
#define QUANTD_SERVER_STORE_OPEN_JOB_STORE_H_

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

struct JobStoreOptions {
  std::string data_directory = {};           // SQLite's file is in it
  std::string dsn = {};                      // of PostgreSQL; empty: SQLite
  int connections = 8;                       // at most, to PostgreSQL; one more listens
  int64_t cache_bytes = kDefaultCacheBytes;  // of SQLite
  Clock& clock;                              // of SQLite
  std::function<void(double seconds, int writes)> on_commit = {};
};

// Tables are made or upgraded. Reasons: those of OpenSqliteDatabase, ConnectPostgresDatabase and PreparePostgresSchema.
absl::StatusOr<std::unique_ptr<JobStore>> OpenJobStore(const JobStoreOptions& options);

// PostgreSQL with the tables of this program.
absl::StatusOr<std::unique_ptr<SqlDatabase>> OpenPostgresDatabase(const JobStoreOptions& options);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_OPEN_JOB_STORE_H_
