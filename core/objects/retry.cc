#include "core/objects/retry.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace quantd {
namespace {

constexpr absl::Duration kStopCheck = absl::Milliseconds(50);

}  // namespace

absl::Duration PauseAfter(const RetryPolicy& policy, int failures, double random) {
  absl::Duration pause = policy.first_pause;
  for (int i = 1; i < failures && pause < policy.longest_pause; ++i) pause *= 2;
  return std::min(pause, policy.longest_pause) * (0.5 + random / 2);
}

bool SleepUnlessStopped(absl::Duration duration, const std::function<bool()>& stop_requested) {
  for (absl::Duration left = duration; left > absl::ZeroDuration(); left -= kStopCheck) {
    if (stop_requested != nullptr && stop_requested()) return false;
    absl::SleepFor(std::min(left, kStopCheck));
  }
  return stop_requested == nullptr || !stop_requested();
}

}  // namespace quantd
