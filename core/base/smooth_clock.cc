#include "core/base/smooth_clock.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace quantd {

absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

SmoothClock::SmoothClock(Clock& wall, std::function<absl::Duration()> steady)
    : wall_(wall), steady_(std::move(steady)), last_steady_(steady_()), last_(wall.Now()) {}

absl::Time SmoothClock::Now() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Duration steady = steady_();
  const absl::Duration elapsed = std::max(steady - last_steady_, absl::ZeroDuration());
  const absl::Duration correction = elapsed * kMaxCorrection;
  const absl::Time uncorrected = last_ + elapsed;
  last_steady_ = steady;
  last_ = std::clamp(wall_.Now(), uncorrected - correction, uncorrected + correction);
  return last_;
}

}  // namespace quantd
