// Starting, signalling and reaping the child process that runs one job.
//
//   SpawnOptions options;
//   options.argv = {"/opt/quantd/bin/quant", "run", "--job", "/scratch/j/job.json"};
//   options.directory = "/scratch/j";
//   ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child, spawner.Spawn(options));
//   while (!child->Poll().has_value()) { ... read child->progress_fd() and child->stderr_fd() ... }
//
// What a child gets: a session and process group of its own, /dev/null as stdin and stdout, a pipe as stderr, a pipe as
// descriptor 3 (progress), nothing else open; only the given environment; no core dumps, no new privileges, first in
// line for the kernel's out-of-memory killer. It dies with its parent: SIGKILL is sent when the *thread* that spawned
// it ends, so that thread must outlive the child.
#ifndef QUANTD_WORKER_AGENT_PROCESS_H_
#define QUANTD_WORKER_AGENT_PROCESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quantd {

inline constexpr int kChildProgressFd = 3;

struct SpawnOptions {
  std::vector<std::string> argv = {};         // argv[0] is the path of the program; PATH is not searched
  std::string directory = {};                 // working directory
  std::vector<std::string> environment = {};  // "NAME=value"
  int64_t memory_limit_bytes = 0;             // address space (RLIMIT_AS); 0: no limit
};

// How a process ended: by exit(exit_code), or by `signal` when that is not 0.
struct ExitStatus {
  int exit_code = 0;
  int signal = 0;
  int64_t peak_memory_bytes = 0;  // most that was resident at once; 0: not known
};

// Thread-compatible. The destructor kills the group and waits for the child.
class ChildProcess {
 public:
  virtual ~ChildProcess() = default;

  // Read ends, non-blocking, owned by this object.
  virtual int progress_fd() const = 0;
  virtual int stderr_fd() const = 0;

  // Resident memory now; 0 when it cannot be told.
  virtual int64_t ResidentBytes() const = 0;

  // To every process of the child's group. No effect after Poll() has given a result.
  virtual void Signal(int signal) = 0;

  // Nothing while the child runs; never waits. Once it has ended, what is left of its group is killed and every later
  // call gives the same result.
  virtual std::optional<ExitStatus> Poll() = 0;
};

class Spawner {
 public:
  virtual ~Spawner() = default;
  // CHILD_NOT_STARTED, naming the program and the system's error.
  virtual absl::StatusOr<std::unique_ptr<ChildProcess>> Spawn(const SpawnOptions& options) = 0;
};

// Thread-safe.
Spawner& RealSpawner();

// Variables a child may inherit, taken from this process: PATH, locale, time zone, and the settings of sanitizers and
// of quantd itself (QUANTD_*). Credentials and anything else in the worker's environment stay behind.
std::vector<std::string> ChildEnvironment();

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_PROCESS_H_
