// What the container allows, which the machine's own figures do not show: limits of the control groups of this process
// (cgroup v2 and v1), as Kubernetes, Docker and systemd set them. A limit of an ancestor binds too.
#ifndef QUANTD_CORE_BASE_CONTAINER_LIMITS_H_
#define QUANTD_CORE_BASE_CONTAINER_LIMITS_H_

#include <cstdint>
#include <limits>
#include <string>

namespace quantd {

struct ContainerLimits {
  uint64_t memory_bytes = std::numeric_limits<uint64_t>::max();  // maximum: none
  double cpus = std::numeric_limits<double>::infinity();         // processor seconds a second; infinity: no quota
};

// `proc_file` lists the groups of the process, `mount` is where the hierarchies are mounted; tests give their own.
// Files that are absent or unreadable limit nothing.
ContainerLimits ReadContainerLimits(const std::string& proc_file = "/proc/self/cgroup",
                                    const std::string& mount = "/sys/fs/cgroup");

// Physical memory, or the container's limit where that is lower.
uint64_t UsableMemoryBytes();

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_CONTAINER_LIMITS_H_
