// What the worker knows about the machine it runs on.
#ifndef QUANTD_WORKER_AGENT_HOST_H_
#define QUANTD_WORKER_AGENT_HOST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

// Devices, memory (of the control group where that is less than the machine's), free space of `scratch_dir`, the widest
// instruction set, this release.
v1::WorkerCapabilities HostCapabilities(FileSystem& files, const std::string& scratch_dir);

// How many processes of this worker's control group the kernel has killed for lack of memory, by memory.events of
// cgroup v2 or memory.oom_control of v1; nothing when neither can be read. Tests give their own files.
std::optional<int64_t> OutOfMemoryKills(const std::string& proc_file = "/proc/self/cgroup",
                                        const std::string& mount = "/sys/fs/cgroup");

// "worker-" and the host's name in the characters of a resource id.
std::string DefaultWorkerId();

// Ids are folder names too: [a-z]([a-z0-9-]{0,61}[a-z0-9])?
bool IsWorkerId(absl::string_view id);

// A scratch folder of this process alone. Opening it removes what earlier runs left, also those of other workers below
// the same root that do not live any more.
class ScratchFolder {
 public:
  // ROOT/WORKER_ID, made when absent. SCRATCH_IN_USE while another process holds it: two workers with one id.
  static absl::StatusOr<ScratchFolder> Open(FileSystem& files, const std::string& root, const std::string& worker_id);
  ScratchFolder(ScratchFolder&& other) noexcept;
  ScratchFolder& operator=(ScratchFolder&& other) = delete;
  ~ScratchFolder();

  const std::string& path() const { return path_; }

 private:
  static absl::StatusOr<ScratchFolder> Emptied(FileSystem& files, const std::string& root, ScratchFolder folder);
  ScratchFolder(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  std::string path_;
  int lock_fd_;
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_HOST_H_
