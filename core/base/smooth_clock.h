// The time of day without its jumps: for leases and deadlines, which a corrected clock must neither end at once nor
// freeze.
//
//   SmoothClock clock(RealClock(), &SteadyNow);
//
// Begins at the wall clock's time and runs with the steady clock. When somebody sets the wall clock it follows at most
// kMaxCorrection faster or slower, so a 15 s lease lasts 14.3 s to 15.8 s however far the wall clock is moved, and an
// hour's difference is gone after 20 hours. Never goes backwards.
#ifndef QUANTD_CORE_BASE_SMOOTH_CLOCK_H_
#define QUANTD_CORE_BASE_SMOOTH_CLOCK_H_

#include <functional>
#include <mutex>

#include "absl/time/time.h"
#include "core/base/clock.h"

namespace quantd {

// Since some moment in the past; not affected by setting the time.
absl::Duration SteadyNow();

// Thread-safe.
class SmoothClock : public Clock {
 public:
  static constexpr double kMaxCorrection = 0.05;

  SmoothClock(Clock& wall, std::function<absl::Duration()> steady);
  absl::Time Now() override;

 private:
  Clock& wall_;
  const std::function<absl::Duration()> steady_;
  std::mutex mutex_;
  absl::Duration last_steady_;  // guarded by mutex_
  absl::Time last_;             // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_SMOOTH_CLOCK_H_
