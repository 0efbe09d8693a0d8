// The database part of `quantd fsck`.
#ifndef QUANTD_SERVER_FSCK_DATABASE_CHECK_H_
#define QUANTD_SERVER_FSCK_DATABASE_CHECK_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "quantd/v1/quant_job.pb.h"
#include "server/fsck/checked_database.h"
#include "server/fsck/fsck_report.h"

namespace quantd {

// A file that a job needs.
struct NeededFile {
  v1::ArtifactFile file;
  std::string job;  // id
  bool of_checkpoint = false;
};

// What the files beside the database are compared with.
struct DatabaseContents {
  bool readable = false;  // false: the rest is not known
  std::vector<NeededFile> files;
  std::set<std::string> live_attempts;  // "{job id}/{fence}" of leased jobs
};

// Adds what is wrong to `report`; with `repair`, rebuilds what can be computed from the jobs.
absl::StatusOr<DatabaseContents> CheckDatabase(CheckedDatabase& database, bool repair, FsckReport& report);

// Whether a job names the file now: servers may have let it go since it was collected.
absl::StatusOr<bool> IsStillNeeded(CheckedDatabase& database, const NeededFile& needed);
// Of these published files, those that no job names now.
absl::StatusOr<std::vector<std::string>> UnneededNow(CheckedDatabase& database,
                                                     const std::vector<std::string>& sha256s);

// The damaged file of a job was taken out of the store.
absl::Status NoteQuarantine(CheckedDatabase& database, const NeededFile& needed);

// The job begins anew at its next attempt.
absl::Status ForgetCheckpoint(CheckedDatabase& database, const std::string& job);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_DATABASE_CHECK_H_
