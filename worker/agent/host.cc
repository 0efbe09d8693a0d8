#include "worker/agent/host.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/base/container_limits.h"
#include "core/base/kernel_file.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr absl::string_view kLockName = "lock";
constexpr size_t kMaxIdBytes = 63;
constexpr int kLockAttempts = 10;
constexpr absl::Duration kLockPause = absl::Milliseconds(50);

std::string WidestInstructionSet() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni")) return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
  return "scalar";
}

// The lock of a worker's folder: a descriptor, or -1 while another process has it.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> TryTake(const std::string& folder, int flags) {
    const std::string path = JoinPath(folder, kLockName);
    FolderLock lock(open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0600));
    if (lock.fd_ < 0) return ErrnoError(errno, absl::StrCat("opening ", path));
    if (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) close(std::exchange(lock.fd_, -1));
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&& other) = delete;
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }

  bool taken() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

absl::Status RemoveLeftovers(FileSystem& files, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDirectory(folder));
  for (const std::string& name : names) {
    if (name != kLockName) RETURN_IF_ERROR(files.RemoveAll(JoinPath(folder, name)));
  }
  return absl::OkStatus();
}

// The folders themselves and their locks stay: somebody may be waiting for one.
absl::Status RemoveLeftoversOfDeadWorkers(FileSystem& files, const std::string& root) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDirectory(root));
  for (const std::string& name : names) {
    const std::string folder = JoinPath(root, name);
    if (!IsWorkerId(name) || !files.Exists(JoinPath(folder, kLockName))) continue;
    ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::TryTake(folder, 0));
    if (lock.taken()) RETURN_IF_ERROR(RemoveLeftovers(files, folder));
  }
  return absl::OkStatus();
}

// The number after `key` in lines of "key number".
std::optional<int64_t> CountIn(const std::string& path, absl::string_view key) {
  const absl::StatusOr<std::string> text = ReadKernelFile(path);
  if (!text.ok()) return std::nullopt;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    int64_t count = 0;
    if (absl::ConsumePrefix(&line, key) && absl::SimpleAtoi(line, &count)) return count;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> OutOfMemoryKills(const std::string& proc_file, const std::string& mount) {
  const absl::StatusOr<std::string> groups = ReadKernelFile(proc_file);
  if (!groups.ok()) return std::nullopt;
  for (absl::string_view line : absl::StrSplit(*groups, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const bool unified = parts[1].empty();
    if (!unified && parts[1] != "memory") continue;
    // Inside a container the path may be the host's, not found here: the root then is the container's own group.
    for (const absl::string_view group : {parts[2], absl::string_view()}) {
      const auto count = unified ? CountIn(absl::StrCat(mount, group, "/memory.events"), "oom_kill ")
                                 : CountIn(absl::StrCat(mount, "/memory", group, "/memory.oom_control"), "oom_kill ");
      if (count.has_value()) return count;
    }
  }
  return std::nullopt;
}

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
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    // A worker that starts now may just be looking for leftovers here.
    if (attempt > 0) absl::SleepFor(kLockPause);
    ASSIGN_OR_RETURN(FolderLock lock, FolderLock::TryTake(path, O_CREAT));
    if (lock.taken()) return Emptied(files, root, ScratchFolder(path, lock.Release()));
  }
  return ReasonError(absl::StatusCode::kFailedPrecondition, "SCRATCH_IN_USE",
                     absl::StrCat(path, " is locked by a running worker; give this one another --worker-id"));
}

absl::StatusOr<ScratchFolder> ScratchFolder::Emptied(FileSystem& files, const std::string& root, ScratchFolder folder) {
  RETURN_IF_ERROR(RemoveLeftovers(files, folder.path()));
  RETURN_IF_ERROR(RemoveLeftoversOfDeadWorkers(files, root));
  return folder;
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

ScratchFolder::~ScratchFolder() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

}  // namespace quantd
