// Time behind an interface, so that leases and deadlines are tested in milliseconds.
#ifndef QUANTD_CORE_BASE_CLOCK_H_
#define QUANTD_CORE_BASE_CLOCK_H_

#include <mutex>

#include "absl/time/time.h"

namespace quantd {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
};

Clock& RealClock();

// Stands still until told to move.
class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'700'000'000)) : now_(now) {}
  absl::Time Now() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return now_;
  }
  void Advance(absl::Duration duration) {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_ += duration;
  }

 private:
  std::mutex mutex_;
  absl::Time now_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_CLOCK_H_
