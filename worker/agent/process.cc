#include "worker/agent/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/kernel_file.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int kExecErrorFd = kChildProgressFd + 1;  // in the child, until exec
constexpr rlim_t kChildOpenFiles = 1024;

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Pipe {
  Fd read;
  Fd write;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoError(errno, "creating a pipe for a child");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Everything the child needs between fork and exec, made before: allocating there could hang on a lock that another
// thread held at the time of the fork. All functions below that take it call async-signal-safe functions only.
struct ChildPlan {
  std::vector<char*> argv;
  std::vector<char*> environment;
  const char* directory;
  rlim_t memory_limit_bytes;
  pid_t parent;
  int progress_fd;
  int stderr_fd;
  int exec_error_fd;
};

bool SetLimit(int resource, rlim_t limit) {
  const struct rlimit value = {limit, limit};
  return setrlimit(static_cast<__rlimit_resource>(resource), &value) == 0;
}

// An unprivileged process may lower its hard limit of open files but not raise it.
bool LimitOpenFiles() {
  struct rlimit current;
  if (getrlimit(RLIMIT_NOFILE, &current) != 0) return false;
  return SetLimit(RLIMIT_NOFILE, current.rlim_max < kChildOpenFiles ? current.rlim_max : kChildOpenFiles);
}

void OfferToOutOfMemoryKiller() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = write(fd, "500", 3);
  close(fd);
}

bool RestrictChild(const ChildPlan& plan) {
  if (setsid() < 0) return false;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return false;
  if (getppid() != plan.parent) return false;  // the parent died before prctl
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  OfferToOutOfMemoryKiller();
  if (!SetLimit(RLIMIT_CORE, 0) || !LimitOpenFiles()) return false;
  return plan.memory_limit_bytes == 0 || SetLimit(RLIMIT_AS, plan.memory_limit_bytes);
}

// The worker blocks the signals that it reads from a descriptor, and gRPC ignores SIGPIPE: both would be inherited.
void ResetSignals() {
  signal(SIGPIPE, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The sources are first moved above every target, so that no dup2 closes one that is still needed.
bool ArrangeDescriptors(const ChildPlan& plan) {
  const int null = open("/dev/null", O_RDWR);
  const std::array<int, 5> sources = {null, null, plan.stderr_fd, plan.progress_fd, plan.exec_error_fd};
  std::array<int, 5> moved;
  for (size_t i = 0; i < sources.size(); ++i) {
    moved[i] = fcntl(sources[i], F_DUPFD, kExecErrorFd + 1);
    if (moved[i] < 0) return false;
  }
  for (size_t i = 0; i < moved.size(); ++i) {
    if (dup2(moved[i], static_cast<int>(i)) < 0) return false;
  }
  return fcntl(kExecErrorFd, F_SETFD, FD_CLOEXEC) == 0 && close_range(kExecErrorFd + 1, ~0U, 0) == 0;
}

[[noreturn]] void RunChild(const ChildPlan& plan) {
  int error_fd = plan.exec_error_fd;
  ResetSignals();
  if (RestrictChild(plan) && ArrangeDescriptors(plan)) {
    error_fd = kExecErrorFd;
    if (chdir(plan.directory) == 0) execve(plan.argv[0], plan.argv.data(), plan.environment.data());
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(error_fd, &error, sizeof error);
  _exit(127);
}

class PosixChild : public ChildProcess {
 public:
  PosixChild(pid_t pid, Fd progress, Fd errors)
      : pid_(pid), progress_(std::move(progress)), errors_(std::move(errors)) {}
  PosixChild(const PosixChild&) = delete;
  PosixChild& operator=(const PosixChild&) = delete;
  ~PosixChild() override {
    Signal(SIGKILL);
    if (!end_.has_value()) Reap();
  }

  int progress_fd() const override { return progress_.get(); }
  int stderr_fd() const override { return errors_.get(); }

  int64_t ResidentBytes() const override {
    if (end_.has_value()) return 0;
    const auto text = ReadKernelFile(absl::StrCat("/proc/", pid_, "/statm"));
    if (!text.ok()) return 0;
    const std::vector<std::string> pages = absl::StrSplit(*text, ' ');  // size, resident, ...
    int64_t resident = 0;
    const bool known = pages.size() > 1 && absl::SimpleAtoi(pages[1], &resident);
    return known ? resident * sysconf(_SC_PAGESIZE) : 0;
  }

  void Signal(int signal) override {
    if (!end_.has_value()) kill(-pid_, signal);
  }

  std::optional<ExitStatus> Poll() override {
    if (end_.has_value() || !HasEnded()) return end_;
    // The zombie still holds its number, so that the group's number cannot belong to anybody else yet.
    Signal(SIGKILL);
    Reap();
    return end_;
  }

 private:
  bool HasEnded() const {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }

  void Reap() {
    int status = 0;
    struct rusage usage = {};
    pid_t reaped;
    do {
      reaped = wait4(pid_, &status, 0, &usage);
    } while (reaped < 0 && errno == EINTR);
    end_ = ExitStatus{.exit_code = WIFSIGNALED(status) ? 0 : WEXITSTATUS(status),
                      .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                      .peak_memory_bytes = int64_t{usage.ru_maxrss} * 1024};
  }

  const pid_t pid_;
  Fd progress_;
  Fd errors_;
  std::optional<ExitStatus> end_;
};

// 0 when exec succeeded: the write end was closed by it, and nothing was written.
int ReadExecError(int fd) {
  int error = 0;
  ssize_t got;
  do {
    got = read(fd, &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  return got == sizeof error ? error : 0;
}

absl::Status NotStarted(const SpawnOptions& options, int error) {
  return ReasonError(absl::StatusCode::kInternal, "CHILD_NOT_STARTED",
                     absl::StrCat("cannot start '", options.argv.front(), "' in '", options.directory,
                                  "': ", std::strerror(error), "; check the worker's --quant and --scratch-dir"));
}

class PosixSpawner : public Spawner {
 public:
  absl::StatusOr<std::unique_ptr<ChildProcess>> Spawn(const SpawnOptions& options) override {
    ASSIGN_OR_RETURN(Pipe progress, MakePipe());
    ASSIGN_OR_RETURN(Pipe errors, MakePipe());
    ASSIGN_OR_RETURN(Pipe exec_error, MakePipe());
    const ChildPlan plan = {Pointers(options.argv),
                            Pointers(options.environment),
                            options.directory.c_str(),
                            static_cast<rlim_t>(options.memory_limit_bytes),
                            getpid(),
                            progress.write.get(),
                            errors.write.get(),
                            exec_error.write.get()};
    const pid_t pid = fork();
    if (pid < 0) return NotStarted(options, errno);
    if (pid == 0) RunChild(plan);
    for (Pipe* pipe : {&progress, &errors, &exec_error}) pipe->write.Close();
    for (const Pipe* pipe : {&progress, &errors}) fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);
    const int error = ReadExecError(exec_error.read.get());
    auto child = std::make_unique<PosixChild>(pid, std::move(progress.read), std::move(errors.read));
    if (error != 0) return NotStarted(options, error);
    return std::unique_ptr<ChildProcess>(std::move(child));
  }
};

constexpr const char* kInherited[] = {
    "PATH=",         "LANG=",          "LC_",           "TZ=",           "LD_LIBRARY_PATH=",
    "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=", "QUANTD_"};

bool IsInherited(const char* variable) {
  for (const char* prefix : kInherited) {
    if (absl::StartsWith(variable, prefix)) return true;
  }
  return false;
}

}  // namespace

Spawner& RealSpawner() {
  static auto* const spawner = new PosixSpawner;
  return *spawner;
}

std::vector<std::string> ChildEnvironment() {
  std::vector<std::string> result;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (IsInherited(*variable)) result.emplace_back(*variable);
  }
  return result;
}

}  // namespace quantd
