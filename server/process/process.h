// Child processes of the daemon: the planner's short commands and the local workers.
//
// A child gets its own process group, no descriptor of ours but its three standard ones, an unblocked signal mask, and
// is ended by the kernel when the thread that started it ends.
#ifndef QUANTD_SERVER_PROCESS_PROCESS_H_
#define QUANTD_SERVER_PROCESS_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quantd {

struct CommandResult {
  int exit_code = 0;  // -1: ended by `signal`
  int signal = 0;
  bool timed_out = false;  // killed because the time was up
  std::string output;      // standard output
  std::string errors;      // standard error
};

// How commands are run; tests stand in for it. Thread-safe.
class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  // `argv`[0] is the path of the program. Output beyond 16 MiB is dropped. NOT_FOUND or INTERNAL PROCESS_START_FAILED
  // when it could not be started; a command that fails is no error here.
  virtual absl::StatusOr<CommandResult> Run(const std::vector<std::string>& argv, absl::Duration timeout) = 0;
};

CommandRunner& RealCommandRunner();

// Descriptors that a child gets as its standard input, output and error; -1: /dev/null, or ours for the error.
struct StandardStreams {
  int output = -1;
  int error = -1;
};

// A descriptor that polls readable when the child has ended; -1 on failure.
int OpenProcessDescriptor(pid_t child);

absl::StatusOr<pid_t> StartProcess(const std::vector<std::string>& argv, const StandardStreams& streams);

}  // namespace quantd

#endif  // QUANTD_SERVER_PROCESS_PROCESS_H_
