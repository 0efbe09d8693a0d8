#include "core/base/container_limits.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/kernel_file.h"

namespace quantd {
namespace {

// Numbers of a limit file; "max" and the like end the list.
std::vector<int64_t> NumbersOf(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadKernelFile(path);
  std::vector<int64_t> numbers;
  if (!text.ok()) return numbers;
  for (absl::string_view word : absl::StrSplit(*text, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(word, &number)) break;
    numbers.push_back(number);
  }
  return numbers;
}

void LimitMemory(const std::vector<int64_t>& bytes, ContainerLimits* limits) {
  if (bytes.empty() || bytes[0] <= 0) return;
  limits->memory_bytes = std::min(limits->memory_bytes, static_cast<uint64_t>(bytes[0]));
}

void LimitCpus(int64_t quota, int64_t period, ContainerLimits* limits) {
  if (quota <= 0 || period <= 0) return;
  limits->cpus = std::min(limits->cpus, static_cast<double>(quota) / static_cast<double>(period));
}

// Version 2: one hierarchy for all controllers. cpu.max holds "QUOTA PERIOD" or "max PERIOD".
void ApplyUnified(const std::string& folder, ContainerLimits* limits) {
  LimitMemory(NumbersOf(absl::StrCat(folder, "/memory.max")), limits);
  const std::vector<int64_t> cpu = NumbersOf(absl::StrCat(folder, "/cpu.max"));
  if (cpu.size() == 2) LimitCpus(cpu[0], cpu[1], limits);
}

// Version 1: a hierarchy a controller. A quota of -1 and a memory limit near 2^63 mean none.
void ApplyMemory(const std::string& folder, ContainerLimits* limits) {
  LimitMemory(NumbersOf(absl::StrCat(folder, "/memory.limit_in_bytes")), limits);
}

void ApplyCpu(const std::string& folder, ContainerLimits* limits) {
  const std::vector<int64_t> quota = NumbersOf(absl::StrCat(folder, "/cpu.cfs_quota_us"));
  const std::vector<int64_t> period = NumbersOf(absl::StrCat(folder, "/cpu.cfs_period_us"));
  if (!quota.empty() && !period.empty()) LimitCpus(quota[0], period[0], limits);
}

struct Hierarchy {
  absl::string_view controller;  // as /proc/self/cgroup names it; empty: version 2
  const char* folder;            // below the mount
  void (*apply)(const std::string& folder, ContainerLimits* limits);
};
constexpr Hierarchy kHierarchies[] = {
    {"", "", ApplyUnified}, {"memory", "/memory", ApplyMemory}, {"cpu", "/cpu", ApplyCpu}};

// The group and all above it. Inside a container the path may be the host's, not found here: the root then holds the
// container's own limits.
void ApplyChain(const Hierarchy& hierarchy, const std::string& mount, std::string path, ContainerLimits* limits) {
  const std::string top = absl::StrCat(mount, hierarchy.folder);
  while (!path.empty()) {
    hierarchy.apply(absl::StrCat(top, path), limits);
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  hierarchy.apply(top, limits);
}

}  // namespace

ContainerLimits ReadContainerLimits(const std::string& proc_file, const std::string& mount) {
  ContainerLimits limits;
  const absl::StatusOr<std::string> groups = ReadKernelFile(proc_file);
  if (!groups.ok()) return limits;
  for (absl::string_view line : absl::StrSplit(*groups, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || !absl::StartsWith(parts[2], "/")) continue;
    const std::vector<absl::string_view> controllers = absl::StrSplit(parts[1], ',');
    for (const Hierarchy& hierarchy : kHierarchies) {
      if (std::find(controllers.begin(), controllers.end(), hierarchy.controller) == controllers.end()) continue;
      ApplyChain(hierarchy, mount, parts[2] == "/" ? "" : parts[2], &limits);
    }
  }
  return limits;
}

uint64_t UsableMemoryBytes() {
  const uint64_t physical =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, ReadContainerLimits().memory_bytes);
}

}  // namespace quantd
