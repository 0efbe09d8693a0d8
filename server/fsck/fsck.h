// Checks the database of a service, every file that it names, and what lies beside them: SQLite or PostgreSQL, a folder
// or an object store.
//
// SQLite is checked while no server uses it. On PostgreSQL servers may go on meanwhile: the database is looked at as it
// was at one moment, what seems to be missing is asked for again, and what cannot be told from something on its way is
// left out, with a note. A repair needs all servers stopped, and keeps them from starting until it has ended.
#ifndef QUANTD_SERVER_FSCK_FSCK_H_
#define QUANTD_SERVER_FSCK_FSCK_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "server/config/settings.h"
#include "server/fsck/fsck_report.h"

namespace quantd {

struct FsckOptions {
  bool repair = false;
  bool digests = true;  // false: presence and size of files only
  int threads = 1;      // that compute digests
  // Called now and then, on one thread at a time, with the bytes read so far and in all; may be empty.
  std::function<void(int64_t done, int64_t total)> progress = {};
};

// `config`: of the servers; data_dir, store_dsn, artifact_store and the settings of the object store are used. Reasons:
// those of OpenCheckedSqlite, OpenCheckedPostgres and OpenObjectStore, and of an object store that does not answer.
// What is wrong inside is in the report.
absl::StatusOr<FsckReport> RunFsck(const ServerConfig& config, const FsckOptions& options);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_FSCK_H_
