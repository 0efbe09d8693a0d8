// The job database that `quantd fsck` looks at, on either engine.
#ifndef QUANTD_SERVER_FSCK_CHECKED_DATABASE_H_
#define QUANTD_SERVER_FSCK_CHECKED_DATABASE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/fsck/fsck_report.h"
#include "server/store/sql_database.h"

namespace quantd {

class CheckedDatabase {
 public:
  virtual ~CheckedDatabase() = default;

  // What the engine itself finds wrong with its files, as DATABASE_DAMAGED.
  virtual void CheckPages(FsckReport& report) = 0;
  // One view of what is committed. `body` may run several times: it assigns its outputs anew each time.
  virtual absl::Status Read(const SqlBody& body) = 0;
  // One transaction, on a database that no server uses.
  virtual absl::Status Repair(const SqlBody& body) = 0;
  // Whether servers may change things meanwhile. Repair cannot be called then.
  virtual bool servers_running() const = 0;
};

// {data_directory}/quantd.db, whose directory stays locked. FAILED_PRECONDITION DATA_DIRECTORY_LOCKED while a server
// uses it, DATA_DIRECTORY_TOO_NEW, DATA_DIRECTORY_OLD, STORE_OF_ANOTHER_APPLICATION; NOT_FOUND DATABASE_MISSING;
// DATA_LOSS STORE_CORRUPT.
absl::StatusOr<std::unique_ptr<CheckedDatabase>> OpenCheckedSqlite(const std::string& data_directory);

// With `repair`, servers are kept away until the end: FAILED_PRECONDITION STORE_IN_USE while there are any. Also the
// reasons of VisitDatabase.
absl::StatusOr<std::unique_ptr<CheckedDatabase>> OpenCheckedPostgres(const std::string& dsn, bool repair);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_CHECKED_DATABASE_H_
