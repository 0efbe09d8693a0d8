#include "server/store/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/file_system.h"
#include "core/base/status.h"

namespace quantd {
namespace {

absl::Status Unusable(const std::string& path, absl::string_view why) {
  return InvalidInput("DATA_DIRECTORY_UNUSABLE",
                      absl::StrFormat("data directory %s: %s; choose another with --data-dir", path, why));
}

absl::Status Locked(const std::string& path, const std::string& lock_path) {
  const auto holder = RealFileSystem().ReadFile(lock_path, /*max_bytes=*/64);
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_LOCKED",
      absl::StrFormat("data directory %s is in use by another quantd (process %s); stop it or choose another directory "
                      "with --data-dir",
                      path, holder.ok() ? std::string(absl::StripSuffix(*holder, "\n")) : "unknown"));
}

absl::Status WriteHolder(int fd, const std::string& lock_path) {
  const std::string text = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return ErrnoError(errno, absl::StrCat("writing ", lock_path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DataDirectory> DataDirectory::Open(const std::string& path) {
  if (const absl::Status made = RealFileSystem().CreateDirectories(path); !made.ok()) {
    return Unusable(path, made.message());
  }
  const std::string lock_path = JoinPath(path, "quantd.lock");
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Unusable(path, absl::StrCat("opening quantd.lock: ", strerror(errno)));
  DataDirectory directory(path, fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Locked(path, lock_path);
    return Unusable(path, absl::StrCat("locking quantd.lock: ", strerror(errno)));
  }
  RETURN_IF_ERROR(WriteHolder(fd, lock_path));
  return directory;
}

DataDirectory::DataDirectory(DataDirectory&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

DataDirectory& DataDirectory::operator=(DataDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  return *this;
}

DataDirectory::~DataDirectory() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace quantd
