#include "core/base/kernel_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kMaxBytes = 64 << 10;

}  // namespace

absl::StatusOr<std::string> ReadKernelFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError(errno, absl::StrCat("opening ", path));
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t got = 0;
  while (text.size() < kMaxBytes) {
    got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  const int error = errno;
  close(fd);
  if (got < 0) return ErrnoError(error, absl::StrCat("reading ", path));
  return text;
}

}  // namespace quantd
