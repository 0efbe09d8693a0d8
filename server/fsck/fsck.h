// Checks a data directory that no server is using: the database, every file that it names, and what lies beside them.
#ifndef QUANTD_SERVER_FSCK_FSCK_H_
#define QUANTD_SERVER_FSCK_FSCK_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/fsck/fsck_report.h"

namespace quantd {

struct FsckOptions {
  std::string data_directory;
  bool repair = false;
  int threads = 1;  // that compute digests
  // Called now and then, on one thread at a time, with the bytes read so far and in all; may be empty.
  std::function<void(int64_t done, int64_t total)> progress = {};
};

// FAILED_PRECONDITION DATA_DIRECTORY_LOCKED while a server uses it, DATA_DIRECTORY_TOO_NEW, STORE_OF_ANOTHER_APPLICATION,
// DATA_DIRECTORY_OLD (a server upgrades it); NOT_FOUND DATABASE_MISSING. What is wrong inside is in the report.
absl::StatusOr<FsckReport> RunFsck(const FsckOptions& options);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_FSCK_H_
