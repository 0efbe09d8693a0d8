// The files of a data directory, beside what the database says of them.
#ifndef QUANTD_SERVER_FSCK_FILE_CHECK_H_
#define QUANTD_SERVER_FSCK_FILE_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_system.h"
#include "server/fsck/database_check.h"
#include "server/fsck/fsck_report.h"

namespace quantd {

struct FileCheckOptions {
  std::string data_directory;
  FileSystem& files;
  int threads = 1;
  std::function<void(int64_t done, int64_t total)> progress = {};
};

// What is wrong with a needed file.
struct BadFile {
  NeededFile needed;
  std::string path;  // below the data directory
  bool missing = false;
  std::string detail;
};

// Presence, size and digest of each, read once even when several jobs need it. Adds to report.files and report.bytes.
std::vector<BadFile> CheckNeededFiles(const FileCheckOptions& options, const std::vector<NeededFile>& needed,
                                      FsckReport& report);

struct Leftover {
  const char* kind;  // of FsckKinds()
  std::string path;  // below the data directory
};
// What lies in the data directory and nobody needs.
absl::StatusOr<std::vector<Leftover>> FindLeftovers(const FileCheckOptions& options, const DatabaseContents& contents);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_FILE_CHECK_H_
