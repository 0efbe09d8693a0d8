// Fail points of test builds. Linked as objects, ahead of core/base/fail_point.cc in its library.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/durable_step.h"
#include "core/base/fail_point.h"
#include "core/base/status.h"
#include "tests/testing/fail_points/fail_point_rules.h"

namespace quantd {
namespace {

constexpr int kExitUsage = 2;

std::string PointName(DurableStep step, FailPointSide side) {
  return absl::StrCat(InfoOf(step).name, side == FailPointSide::kBefore ? ".before" : ".after");
}

absl::Status Act(const FailPointRule& rule, const std::string& name) {
  switch (rule.action) {
    case FailPointAction::kExit:
      kill(getpid(), SIGKILL);
      break;
    case FailPointAction::kSleep:
      std::this_thread::sleep_for(absl::ToChronoNanoseconds(rule.sleep));
      break;
    case FailPointAction::kError:
      return ReasonError(absl::StatusCode::kUnavailable, "FAIL_POINT",
                         absl::StrCat("fail point ", name, " was told to fail"));
  }
  return absl::OkStatus();
}

void EndUnlessOk(const char* source, const absl::Status& armed) {
  if (armed.ok()) return;
  std::fprintf(stderr, "%s: %s: %s\n", source, ReasonOf(armed).c_str(), std::string(armed.message()).c_str());
  _exit(kExitUsage);
}

class FailPoints {
 public:
  FailPoints() {
    if (const char* folder = std::getenv("QUANTD_FAIL_POINT_DIR"); folder != nullptr) folder_ = folder;
    const char* text = std::getenv("QUANTD_FAIL_POINTS");
    EndUnlessOk("QUANTD_FAIL_POINTS", Arm(text == nullptr ? "" : text));
  }

  absl::Status Arm(absl::string_view text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ArmLocked(text);
  }

  absl::Status Pass(DurableStep step, FailPointSide side) {
    const std::string name = PointName(step, side);
    FailPointRule rule;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      RereadFile();
      const int64_t pass = ++counts_[name] - armed_at_[name];
      Record(name);
      const auto found = rules_.find(name);
      if (found == rules_.end()) return absl::OkStatus();
      rule = found->second;
      if (rule.only_pass != 0 && rule.only_pass != pass) return absl::OkStatus();
      if (!TakeTurn(name)) return absl::OkStatus();
    }
    return Act(rule, name);
  }

  std::map<std::string, int64_t> Counts() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return counts_;
  }

 private:
  absl::Status ArmLocked(absl::string_view text) {
    ASSIGN_OR_RETURN(auto rules, ParseFailPoints(text));
    rules_ = std::move(rules);
    armed_at_ = counts_;
    return absl::OkStatus();
  }

  void RereadFile() {
    if (folder_.empty()) return;
    std::ifstream file(absl::StrCat(folder_, "/armed.", program_invocation_short_name));
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text == text_of_file_) return;
    text_of_file_ = text;
    EndUnlessOk("QUANTD_FAIL_POINT_DIR", ArmLocked(text));
  }

  // One write of a whole line to a file opened for appending: lines of several processes do not mix.
  void Record(const std::string& name) {
    if (folder_.empty()) return;
    const int fd = open(absl::StrCat(folder_, "/passed").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const std::string line = absl::StrCat(name, "\n");
    (void)!write(fd, line.data(), line.size());
    close(fd);
  }

  bool TakeTurn(const std::string& name) {
    if (folder_.empty()) return true;
    const int fd = open(absl::StrCat(folder_, "/", name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }

  std::string folder_;        // empty: this process alone
  std::string text_of_file_;  // when it was last read
  std::mutex mutex_;
  std::map<std::string, FailPointRule> rules_;
  std::map<std::string, int64_t> counts_;
  std::map<std::string, int64_t> armed_at_;  // counts when the rules were set: @N counts from there
};

FailPoints& Points() {
  static auto* const points = new FailPoints;
  return *points;
}

// A wrong variable ends the process before it does anything.
[[maybe_unused]] const FailPoints& kReadAtStart = Points();

}  // namespace

absl::Status PassFailPoint(DurableStep step, FailPointSide side) {
  return Points().Pass(step, side);
}

absl::Status SetFailPoints(absl::string_view text) {
  return Points().Arm(text);
}

std::map<std::string, int64_t> FailPointCounts() {
  return Points().Counts();
}

}  // namespace quantd
