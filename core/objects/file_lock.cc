#include "core/objects/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/objects/retry.h"

namespace quantd {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(20);

// Whether the open file is still the one of that name: its last holder may have removed it.
bool IsNamed(int fd, const std::string& path) {
  struct stat open_file = {};
  struct stat named = {};
  return fstat(fd, &open_file) == 0 && stat(path.c_str(), &named) == 0 && open_file.st_ino == named.st_ino &&
         open_file.st_dev == named.st_dev;
}

}  // namespace

absl::StatusOr<std::optional<FileLock>> FileLock::TryTake(const std::string& path, Mode mode) {
  const int operation = mode == Mode::kShared ? LOCK_SH : LOCK_EX;
  while (true) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return ErrnoError(errno, absl::StrCat("opening ", path));
    FileLock lock(fd, path);
    int result;
    do {
      result = flock(fd, operation | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EWOULDBLOCK) return std::nullopt;
    if (result != 0) return ErrnoError(errno, absl::StrCat("locking ", path));
    if (IsNamed(fd, path)) return std::optional<FileLock>(std::move(lock));
  }
}

absl::StatusOr<FileLock> FileLock::Take(const std::string& path, Mode mode,
                                        const std::function<bool()>& stop_requested) {
  while (true) {
    ASSIGN_OR_RETURN(std::optional<FileLock> lock, TryTake(path, mode));
    if (lock.has_value()) return *std::move(lock);
    if (!SleepUnlessStopped(kPoll, stop_requested)) return absl::CancelledError("stopped");
  }
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

void FileLock::RemoveFile() {
  unlink(path_.c_str());
}

}  // namespace quantd
