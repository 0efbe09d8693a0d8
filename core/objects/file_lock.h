// Locks of files that hold between processes as well as between threads, and that end with their process.
#ifndef QUANTD_CORE_OBJECTS_FILE_LOCK_H_
#define QUANTD_CORE_OBJECTS_FILE_LOCK_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace quantd {

class FileLock {
 public:
  enum class Mode { kShared, kExclusive };

  // Creates the file when absent. Nothing when somebody else holds it in a way that excludes `mode`.
  static absl::StatusOr<std::optional<FileLock>> TryTake(const std::string& path, Mode mode);
  // Waits for it. CANCELLED when `stop_requested` said so.
  static absl::StatusOr<FileLock> Take(const std::string& path, Mode mode, const std::function<bool()>& stop_requested);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

  // Removes the file; who waits for it then makes a new one. Only with an exclusive lock.
  void RemoveFile();

 private:
  FileLock(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;  // -1 after a move
  std::string path_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_FILE_LOCK_H_
