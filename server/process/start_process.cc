#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/process/process.h"

namespace quantd {
namespace {

// Between fork and exec only async-signal-safe calls are allowed: no allocation, no locks.
struct ChildPlan {
  char* const* argv;
  StandardStreams streams;
  pid_t parent;
  int error_pipe;
};

void ResetSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
}

[[noreturn]] void Report(int error_pipe) {
  const int error_number = errno;
  (void)!write(error_pipe, &error_number, sizeof error_number);
  _exit(127);
}

[[noreturn]] void BecomeProgram(const ChildPlan& plan) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != plan.parent) _exit(127);  // it died before the line above
  ResetSignals();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) Report(plan.error_pipe);
  if (dup2(plan.streams.output >= 0 ? plan.streams.output : null, STDOUT_FILENO) < 0) Report(plan.error_pipe);
  if (plan.streams.error >= 0 && dup2(plan.streams.error, STDERR_FILENO) < 0) Report(plan.error_pipe);
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  execv(plan.argv[0], plan.argv);
  Report(plan.error_pipe);
}

absl::Status StartError(const std::string& program, int error_number) {
  const auto code = error_number == ENOENT ? absl::StatusCode::kNotFound : absl::StatusCode::kInternal;
  return ReasonError(code, "PROCESS_START_FAILED", absl::StrFormat("starting %s: %s", program, strerror(error_number)));
}

// Reads the errno of a failed exec; 0 when the pipe closed because exec succeeded.
int ExecError(int pipe) {
  int error_number = 0;
  ssize_t got;
  do {
    got = read(pipe, &error_number, sizeof error_number);
  } while (got < 0 && errno == EINTR);
  return got == sizeof error_number ? error_number : 0;
}

}  // namespace

// By number: the header of glibc 2.36 declares pidfd_open for C only.
int OpenProcessDescriptor(pid_t child) {
  return static_cast<int>(syscall(SYS_pidfd_open, child, 0));
}

absl::StatusOr<pid_t> StartProcess(const std::vector<std::string>& argv, const StandardStreams& streams) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  int error_pipe[2];
  if (pipe2(error_pipe, O_CLOEXEC) != 0) return StartError(argv[0], errno);
  const ChildPlan plan = {arguments.data(), streams, getpid(), error_pipe[1]};
  const pid_t child = fork();
  if (child == 0) BecomeProgram(plan);
  const int fork_error = errno;
  close(error_pipe[1]);
  const int error_number = child < 0 ? fork_error : ExecError(error_pipe[0]);
  close(error_pipe[0]);
  if (error_number == 0) return child;
  if (child > 0) waitpid(child, nullptr, 0);
  return StartError(argv[0], error_number);
}

}  // namespace quantd
