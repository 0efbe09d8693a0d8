// The server's directory, held by one daemon at a time.
//
//   quantd.lock   flock; holds the process id of the daemon that has it
//   quantd.db     jobs (sqlite_database.h)
//   artifacts/, staging/   files (server/artifacts)
#ifndef QUANTD_SERVER_STORE_DATA_DIRECTORY_H_
#define QUANTD_SERVER_STORE_DATA_DIRECTORY_H_

#include <string>

#include "absl/status/statusor.h"

namespace quantd {

class DataDirectory {
 public:
  // Creates the directory when absent and locks it. FAILED_PRECONDITION DATA_DIRECTORY_LOCKED names the process that
  // holds it; INVALID_ARGUMENT DATA_DIRECTORY_UNUSABLE when it cannot be created or written.
  static absl::StatusOr<DataDirectory> Open(const std::string& path);
  DataDirectory(DataDirectory&& other) noexcept;
  DataDirectory& operator=(DataDirectory&& other) noexcept;
  DataDirectory(const DataDirectory&) = delete;
  ~DataDirectory();  // unlocks

  const std::string& path() const { return path_; }

 private:
  DataDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_ = -1;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_DATA_DIRECTORY_H_
