#include "worker/agent/child_run.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "worker/agent/child_messages.h"

namespace quantd {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kPollMs = 50;
// After both pipes have ended the child is about to: look often.
constexpr int kEndingPollMs = 2;
// A process that left the group may keep a pipe full for ever: read so much after the end, no more.
constexpr int kMaxReadsAfterEnd = 64;
// How `quant` ends when SIGTERM or SIGINT asks it to.
constexpr int kExitCancelled = 130;
constexpr absl::string_view kCancelledReason = "CANCELLED";

class Watch {
 public:
  Watch(ChildProcess& child, const ChildRunOptions& options)
      : child_(child), options_(options), progress_fd_(child.progress_fd()), stderr_fd_(child.stderr_fd()) {}

  ChildEnd Run() {
    while (true) {
      WaitForOutput();
      ReadOnce();
      ApplyStop();
      if (const std::optional<ExitStatus> status = child_.Poll(); status.has_value()) return End(*status);
    }
  }

 private:
  void WaitForOutput() {
    std::array<pollfd, 2> waits = {pollfd{progress_fd_, POLLIN, 0}, pollfd{stderr_fd_, POLLIN, 0}};
    const bool both_ended = progress_fd_ < 0 && stderr_fd_ < 0;
    poll(waits.data(), waits.size(), both_ended ? kEndingPollMs : kPollMs);  // negative descriptors are skipped
  }

  // True when there was something to read on either pipe.
  bool ReadOnce() {
    const bool progress = ReadFrom(progress_fd_, [this](absl::string_view bytes) { AddProgress(bytes); });
    const bool log = ReadFrom(stderr_fd_, [this](absl::string_view bytes) { log_.Add(bytes); });
    return progress || log;
  }

  template <typename Sink>
  bool ReadFrom(int& fd, const Sink& sink) {
    if (fd < 0) return false;
    const ssize_t got = read(fd, buffer_.data(), buffer_.size());
    if (got > 0) sink(absl::string_view(buffer_.data(), static_cast<size_t>(got)));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) fd = -1;
    return got > 0;
  }

  void AddProgress(absl::string_view bytes) {
    bool changed = false;
    for (const std::string& line : lines_.Add(bytes)) {
      const ChildMessages::News news = messages_.AddLine(line);
      changed = changed || news == ChildMessages::News::kProgress;
      if (news == ChildMessages::News::kCheckpoint && options_.on_checkpoint) {
        options_.on_checkpoint(*messages_.checkpoint());
      }
      if (news == ChildMessages::News::kResumed && options_.on_resumed) options_.on_resumed(*messages_.resumed());
    }
    if (changed && options_.on_progress) options_.on_progress(messages_.progress());
  }

  void ApplyStop() {
    const StopReason reason = options_.stop_reason ? options_.stop_reason() : StopReason::kNone;
    if (reason == StopReason::kNone) return;
    const auto now = SteadyClock::now();
    if (reason != acted_on_) {
      acted_on_ = reason;
      const auto kill_at = now + absl::ToChronoNanoseconds(GraceFor(reason));
      kill_at_ = kill_at_.has_value() ? std::min(*kill_at_, kill_at) : kill_at;
      if (now < *kill_at_) child_.Signal(SIGTERM);
    }
    if (now >= *kill_at_) child_.Signal(SIGKILL);
  }

  absl::Duration GraceFor(StopReason reason) const {
    if (reason == StopReason::kLostLease || reason == StopReason::kDrainOver) return absl::ZeroDuration();
    return reason == StopReason::kDrain ? options_.drain_grace : options_.grace;
  }

  ChildEnd End(ExitStatus status) {
    for (int i = 0; i < kMaxReadsAfterEnd && ReadOnce(); ++i) {
    }
    AddProgress("\n");  // a last line may lack its newline
    return ChildEnd{.status = status,
                    .progress = messages_.progress(),
                    .error = messages_.error(),
                    .log_tail = log_.Text(),
                    .refusal = messages_.refusal()};
  }

  ChildProcess& child_;
  const ChildRunOptions& options_;
  int progress_fd_;  // -1 once ended
  int stderr_fd_;
  StopReason acted_on_ = StopReason::kNone;
  std::optional<SteadyClock::time_point> kill_at_;
  LineSplitter lines_;
  ChildMessages messages_;
  LogTail log_;
  std::array<char, 16 << 10> buffer_;
};

struct SignalName {
  int number;
  absl::string_view name;
  bool crash;
};
constexpr SignalName kSignals[] = {
    {SIGSEGV, "SIGSEGV", true},  {SIGABRT, "SIGABRT", true},  {SIGBUS, "SIGBUS", true},    {SIGFPE, "SIGFPE", true},
    {SIGILL, "SIGILL", true},    {SIGTRAP, "SIGTRAP", true},  {SIGSYS, "SIGSYS", true},    {SIGKILL, "SIGKILL", false},
    {SIGTERM, "SIGTERM", false}, {SIGXCPU, "SIGXCPU", false}, {SIGXFSZ, "SIGXFSZ", false},
};

SignalName NameOf(int number) {
  const auto* found = std::find_if(std::begin(kSignals), std::end(kSignals),
                                   [&](const SignalName& signal) { return signal.number == number; });
  return found == std::end(kSignals) ? SignalName{number, "a signal", false} : *found;
}

std::string During(const v1::JobProgress& progress) {
  if (progress.phase().empty()) return "before its first phase";
  return absl::StrCat("in phase ", progress.phase(), progress.layer().empty() ? "" : ", layer ", progress.layer());
}

// What to do when neither the worker nor the job wanted the end.
absl::string_view RemedyFor(int signal) {
  if (signal == SIGKILL) return "; most likely by the out-of-memory killer: give the worker more memory";
  if (signal != SIGTERM) return "";
  return ", from outside and not by its worker; submit the job again, and let whatever stops services signal the "
         "worker alone (systemd: KillMode=mixed)";
}

void ExplainSignal(const ChildEnd& end, v1::JobError& error) {
  const SignalName signal = NameOf(end.status.signal);
  error.set_reason(signal.crash ? "CHILD_CRASHED" : "CHILD_KILLED");
  error.set_message(absl::StrFormat("the job's process was ended by %s (%d) %s%s", signal.name, signal.number,
                                    During(end.progress), RemedyFor(signal.number)));
}

// `quant` takes SIGTERM and SIGINT for a wish to cancel and says only that it was cancelled. When its worker had no
// such wish, somebody else sent the signal.
bool StoppedFromOutside(const ChildEnd& end) {
  if (end.error.has_value()) return end.error->reason() == kCancelledReason;
  return end.status.exit_code == kExitCancelled;
}

void ExplainStop(const ChildEnd& end, v1::JobError& error) {
  error.set_reason("CHILD_KILLED");
  error.set_message(absl::StrFormat("the job's process was ended by SIGTERM (or SIGINT) %s%s", During(end.progress),
                                    RemedyFor(SIGTERM)));
}

void ExplainExit(const ChildEnd& end, v1::JobError& error) {
  error.set_reason("CHILD_CRASHED");
  error.set_message(
      absl::StrFormat("the job's process exited with code %d %s without giving a reason; its log may say more",
                      end.status.exit_code, During(end.progress)));
}

}  // namespace

ChildEnd WatchChild(ChildProcess& child, const ChildRunOptions& options) {
  return Watch(child, options).Run();
}

bool IsOwnFailure(const ChildEnd& end) {
  return end.error.has_value() && !StoppedFromOutside(end);
}

v1::JobError FailureOf(const ChildEnd& end) {
  v1::JobError error;
  if (StoppedFromOutside(end)) {
    ExplainStop(end, error);
  } else if (end.error.has_value()) {
    error = *end.error;
  } else if (end.status.signal != 0) {
    ExplainSignal(end, error);
  } else {
    ExplainExit(end, error);
  }
  error.set_exit_code(end.status.exit_code);
  error.set_signal(end.status.signal);
  error.set_phase(end.progress.phase());
  error.set_log_tail(end.log_tail);
  return error;
}

}  // namespace quantd
