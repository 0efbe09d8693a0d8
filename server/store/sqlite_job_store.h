// JobStore in one SQLite file: WAL, synchronous=FULL, one connection that does every write and checkpoint, one for
// reads.
#ifndef QUANTD_SERVER_STORE_SQLITE_JOB_STORE_H_
#define QUANTD_SERVER_STORE_SQLITE_JOB_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/store/job_store.h"

namespace quantd {

// Opens or creates {data_directory}/quantd.db. The caller holds the directory's lock (DataDirectory) for as long as the
// store lives. `clock` gives the times of events. `on_commit` (may be empty) is told how long each commit took.
// FAILED_PRECONDITION DATA_DIRECTORY_TOO_NEW; DATA_LOSS STORE_CORRUPT.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(const std::string& data_directory, Clock& clock,
                                                             std::function<void(double seconds)> on_commit = {});

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_JOB_STORE_H_
