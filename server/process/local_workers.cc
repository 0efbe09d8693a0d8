#include "server/process/local_workers.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/process/process.h"

namespace quantd {
namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Seconds(30);
constexpr absl::Duration kGoodRun = absl::Minutes(1);

int PollTimeout(absl::Duration duration) {
  const double milliseconds = absl::ToDoubleMilliseconds(duration);
  return static_cast<int>(std::clamp(milliseconds, 0.0, 60'000.0)) + 1;
}

}  // namespace

LocalWorkers::LocalWorkers(std::vector<std::vector<std::string>> commands) : stop_event_(eventfd(0, EFD_CLOEXEC)) {
  for (auto& command : commands) workers_.push_back({.command = std::move(command), .started = {}});
  // The kernel ends a child when the thread that started it ends: this one lasts until all have been collected.
  if (!workers_.empty()) supervisor_ = std::thread([this] { Supervise(); });
}

LocalWorkers::~LocalWorkers() {
  Stop(absl::ZeroDuration());
  close(stop_event_);
}

void LocalWorkers::Stop(absl::Duration patience) {
  if (!supervisor_.joinable()) return;
  patience_ = patience;
  const eventfd_t one = 1;
  if (write(stop_event_, &one, sizeof one) != sizeof one) return;  // cannot be: the counter is far from full
  supervisor_.join();
}

void LocalWorkers::Supervise() {
  bool stopping = false;
  while (!stopping) {
    const absl::Time now = RealClock().Now();
    for (Worker& worker : workers_) {
      if (worker.pid == 0 && worker.start_at <= now) Start(worker);
    }
    stopping = WaitForNews(UntilNextStart());
    for (Worker& worker : workers_) Collect(worker);
  }
  EndAll();
}

void LocalWorkers::Start(Worker& worker) {
  worker.started = RealClock().Now();
  const auto pid = StartProcess(worker.command, {});
  if (pid.ok()) {
    worker.pid = *pid;
    worker.pidfd = OpenProcessDescriptor(*pid);
    Log(Severity::kInfo, "local_worker_started", {{"pid", absl::StrCat(*pid)}});
    return;
  }
  Log(Severity::kError, "local_worker_failed", {{"reason", ReasonOf(pid.status())}}, pid.status().message());
  worker.start_at = worker.started + worker.pause;
  worker.pause = std::min(worker.pause * 2, kLongestPause);
}

// Reaps the worker if it has ended and plans its next start.
void LocalWorkers::Collect(Worker& worker) {
  int status = 0;
  if (worker.pid == 0 || waitpid(worker.pid, &status, WNOHANG) != worker.pid) return;
  close(std::exchange(worker.pidfd, -1));
  const absl::Time now = RealClock().Now();
  if (now - worker.started >= kGoodRun) worker.pause = kFirstPause;
  Log(Severity::kWarning, "local_worker_ended",
      {{"pid", absl::StrCat(worker.pid)},
       {"exit_code", absl::StrCat(WIFEXITED(status) ? WEXITSTATUS(status) : -1)},
       {"signal", absl::StrCat(WIFSIGNALED(status) ? WTERMSIG(status) : 0)}});
  worker.pid = 0;
  worker.start_at = now + worker.pause;
  worker.pause = std::min(worker.pause * 2, kLongestPause);
}

absl::Duration LocalWorkers::UntilNextStart() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Worker& worker : workers_) {
    if (worker.pid == 0) next = std::min(next, worker.start_at);
  }
  return next - RealClock().Now();
}

bool LocalWorkers::WaitForNews(absl::Duration timeout) {
  std::vector<pollfd> fds = {{stop_event_, POLLIN, 0}};
  for (const Worker& worker : workers_) fds.push_back({worker.pidfd, POLLIN, 0});
  const int ready = poll(fds.data(), fds.size(), PollTimeout(timeout));
  if (ready <= 0 || fds[0].revents == 0) return false;
  // Reading, unlike polling, orders what Stop() wrote before what is read here.
  eventfd_t count = 0;
  return read(stop_event_, &count, sizeof count) == sizeof count;
}

void LocalWorkers::EndAll() {
  const absl::Time deadline = RealClock().Now() + patience_;
  for (const Worker& worker : workers_) {
    if (worker.pid > 0) kill(worker.pid, SIGTERM);
  }
  for (Worker& worker : workers_) {
    if (worker.pid == 0) continue;
    pollfd fd = {worker.pidfd, POLLIN, 0};
    poll(&fd, 1, PollTimeout(deadline - RealClock().Now()));
    Collect(worker);
    if (worker.pid == 0) continue;
    kill(-worker.pid, SIGKILL);
    waitpid(worker.pid, nullptr, 0);
    close(std::exchange(worker.pidfd, -1));
    worker.pid = 0;
  }
}

}  // namespace quantd
