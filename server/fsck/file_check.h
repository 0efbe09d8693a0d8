// The files of a service, beside what its database says of them.
#ifndef QUANTD_SERVER_FSCK_FILE_CHECK_H_
#define QUANTD_SERVER_FSCK_FILE_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/fsck/checked_files.h"
#include "server/fsck/database_check.h"
#include "server/fsck/fsck_report.h"

namespace quantd {

struct FileCheckOptions {
  CheckedFiles& files;
  bool digests = true;  // false: presence and size only
  int threads = 1;
  std::function<void(int64_t done, int64_t total)> progress = {};
};

// What is wrong with a needed file.
struct BadFile {
  NeededFile needed;
  std::string path;
  bool missing = false;
  std::string detail;
};

// Each is read once even when several jobs need it. Adds to report.files and report.bytes. An error: the store does not
// let the files be told.
absl::StatusOr<std::vector<BadFile>> CheckNeededFiles(const FileCheckOptions& options,
                                                      const std::vector<NeededFile>& needed, FsckReport& report);

struct Leftover {
  std::string kind;  // of FsckKinds()
  FoundFile file;
};
// What lies in the store and nobody needs.
absl::StatusOr<std::vector<Leftover>> FindLeftovers(CheckedFiles& files, const DatabaseContents& contents);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_FILE_CHECK_H_
