#include "worker/agent/host.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/container_limits.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr absl::string_view kLockName = "lock";
constexpr size_t kMaxIdBytes = 63;

std::string WidestInstructionSet() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni")) return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
  return "scalar";
}

absl::Status RemoveLeftovers(FileSystem& files, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDirectory(folder));
  for (const std::string& name : names) {
    if (name != kLockName) RETURN_IF_ERROR(files.RemoveAll(JoinPath(folder, name)));
  }
  return absl::OkStatus();
}

}  // namespace

v1::WorkerCapabilities HostCapabilities(FileSystem& files, const std::string& scratch_dir) {
  static const auto memory_bytes = static_cast<int64_t>(UsableMemoryBytes());
  v1::WorkerCapabilities capabilities;
  capabilities.add_devices("cpu");
  capabilities.set_memory_bytes(memory_bytes);
  capabilities.set_scratch_bytes(static_cast<int64_t>(files.FreeBytes(scratch_dir).value_or(0)));
  capabilities.set_isa(WidestInstructionSet());
  capabilities.set_version(QUANTD_VERSION);
  return capabilities;
}

std::string DefaultWorkerId() {
  std::array<char, 256> host = {};
  if (gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') host = {'h', 'o', 's', 't'};
  std::string id = absl::StrCat("worker-", absl::AsciiStrToLower(host.data())).substr(0, kMaxIdBytes);
  for (char& c : id) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  while (id.back() == '-') id.pop_back();
  return id;
}

bool IsWorkerId(absl::string_view id) {
  const auto allowed = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; };
  return !id.empty() && id.size() <= kMaxIdBytes && absl::ascii_islower(id.front()) && id.back() != '-' &&
         std::all_of(id.begin(), id.end(), allowed);
}

absl::StatusOr<ScratchFolder> ScratchFolder::Open(FileSystem& files, const std::string& root,
                                                  const std::string& worker_id) {
  const std::string path = JoinPath(root, worker_id);
  RETURN_IF_ERROR(files.CreateDirectories(path));
  const std::string lock_path = JoinPath(path, kLockName);
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoError(errno, absl::StrCat("opening ", lock_path));
  ScratchFolder folder(path, fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "SCRATCH_IN_USE",
                       absl::StrCat(path, " is locked by a running worker; give this one another --worker-id"));
  }
  RETURN_IF_ERROR(RemoveLeftovers(files, path));
  return folder;
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

ScratchFolder::~ScratchFolder() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

}  // namespace quantd
