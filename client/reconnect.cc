#include "client/reconnect.h"

#include <algorithm>
#include <random>

#include "absl/time/clock.h"
#include "client/channel.h"

namespace quantd {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(200);
constexpr absl::Duration kLongestPause = absl::Seconds(3);
constexpr double kJitter = 0.2;

absl::Duration Pause(int failures) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_real_distribution<double> jitter(1 - kJitter, 1 + kJitter);
  const absl::Duration nominal = kFirstPause * (1 << std::min(failures - 1, 10));
  return std::min(nominal, kLongestPause) * jitter(random);
}

bool MayPass(const absl::Status& status) {
  return status.ok() || absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

void Reconnect::Progress() {
  last_progress_ = absl::Now();
  failures_ = 0;
}

bool Reconnect::WaitAfter(const absl::Status& status) {
  if (!MayPass(status)) return false;
  ++failures_;
  const bool connected_before = last_progress_ != absl::InfinitePast();
  const bool give_up = connected_before ? absl::Now() - last_progress_ > longest_outage_ && failures_ > 1
                                        : failures_ >= kMaxCallAttempts;
  if (give_up) return false;
  absl::SleepFor(Pause(failures_));
  return true;
}

}  // namespace quantd
