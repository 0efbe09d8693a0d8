#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "server/process/process.h"

namespace quantd {
namespace {

constexpr size_t kMaxOutputBytes = 16u << 20;

class Pipe {
 public:
  static absl::StatusOr<Pipe> Create() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "creating a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return Pipe(ends[0], ends[1]);
  }
  Pipe(Pipe&& other) noexcept : read_(std::exchange(other.read_, -1)), write_(std::exchange(other.write_, -1)) {}
  Pipe(const Pipe&) = delete;
  ~Pipe() {
    if (read_ >= 0) close(read_);
    CloseWriteEnd();
  }
  int read_end() const { return read_; }
  int write_end() const { return write_; }
  void CloseWriteEnd() {
    if (write_ >= 0) close(std::exchange(write_, -1));
  }
  // Moves what is there to `out`; false at the end of the stream.
  bool Drain(std::string& out) const {
    char buffer[16 << 10];
    while (true) {
      const ssize_t got = read(read_, buffer, sizeof buffer);
      if (got == 0) return false;
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      out.append(buffer, std::min(static_cast<size_t>(got), kMaxOutputBytes - std::min(out.size(), kMaxOutputBytes)));
    }
  }

 private:
  Pipe(int read_end, int write_end) : read_(read_end), write_(write_end) {}
  int read_;
  int write_;
};

// A started command: collects its output until it ends or the time is up.
class RunningCommand {
 public:
  RunningCommand(pid_t pid, const Pipe& output, const Pipe& errors)
      : pid_(pid), pidfd_(OpenProcessDescriptor(pid)), output_(output), errors_(errors) {}
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;
  ~RunningCommand() {
    if (pidfd_ >= 0) close(pidfd_);
  }

  CommandResult WaitUntil(absl::Time deadline) {
    CommandResult result;
    result.timed_out = !CollectUntil(deadline, result);
    if (result.timed_out) kill(-pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    output_.Drain(result.output);
    errors_.Drain(result.errors);
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return result;
  }

 private:
  // False when the time was up first.
  bool CollectUntil(absl::Time deadline, CommandResult& result) {
    // A negative descriptor is ignored by poll: a stream that has ended.
    pollfd fds[] = {{pidfd_, POLLIN, 0}, {output_.read_end(), POLLIN, 0}, {errors_.read_end(), POLLIN, 0}};
    while (true) {
      const int64_t left_ms = absl::ToInt64Milliseconds(deadline - RealClock().Now()) + 1;
      if (left_ms <= 0) return false;
      if (poll(fds, 3, static_cast<int>(std::min<int64_t>(left_ms, 60'000))) < 0) continue;
      if (fds[1].revents != 0 && !output_.Drain(result.output)) fds[1].fd = -1;
      if (fds[2].revents != 0 && !errors_.Drain(result.errors)) fds[2].fd = -1;
      if (fds[0].revents != 0) return true;
    }
  }

  const pid_t pid_;
  const int pidfd_;
  const Pipe& output_;
  const Pipe& errors_;
};

class PosixCommandRunner : public CommandRunner {
 public:
  absl::StatusOr<CommandResult> Run(const std::vector<std::string>& argv, absl::Duration timeout) override {
    const absl::Time deadline = RealClock().Now() + timeout;
    ASSIGN_OR_RETURN(Pipe output, Pipe::Create());
    ASSIGN_OR_RETURN(Pipe errors, Pipe::Create());
    ASSIGN_OR_RETURN(const pid_t pid, StartProcess(argv, {.output = output.write_end(), .error = errors.write_end()}));
    output.CloseWriteEnd();
    errors.CloseWriteEnd();
    return RunningCommand(pid, output, errors).WaitUntil(deadline);
  }
};

}  // namespace

CommandRunner& RealCommandRunner() {
  static auto* const runner = new PosixCommandRunner;
  return *runner;
}

}  // namespace quantd
