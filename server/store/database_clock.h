// The clock of another host, kept as an offset to this host's steady clock: reading it costs nothing, and neither
// setting this host's clock nor one slow answer moves it.
#ifndef QUANTD_SERVER_STORE_DATABASE_CLOCK_H_
#define QUANTD_SERVER_STORE_DATABASE_CLOCK_H_

#include <chrono>
#include <mutex>

#include "absl/time/time.h"

namespace quantd {

// Thread-safe.
class DatabaseClock {
 public:
  using Steady = std::chrono::steady_clock;

  // `remote` was the time there at some moment between `asked` and `answered`.
  void Sample(Steady::time_point asked, Steady::time_point answered, absl::Time remote) {
    const absl::Duration error = absl::FromChrono(answered - asked) / 2;
    const std::lock_guard<std::mutex> lock(mutex_);
    // A worse measurement counts only once the better one has become old.
    if (sampled_ && error > error_ + absl::FromChrono(answered - taken_at_) / kDistrust) return;
    sampled_ = true;
    error_ = error;
    taken_at_ = answered;
    remote_ = remote + error;
  }

  absl::Time Now() const { return At(Steady::now()); }
  absl::Time At(Steady::time_point now) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return remote_ + absl::FromChrono(now - taken_at_);
  }

 private:
  static constexpr int kDistrust = 1000;  // a measurement loses 1 ms of its worth a second

  mutable std::mutex mutex_;
  bool sampled_ = false;  // guarded by mutex_, as are all below
  absl::Duration error_;  // at most so far from the truth when it was taken
  Steady::time_point taken_at_;
  absl::Time remote_;  // the time there at taken_at_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_DATABASE_CLOCK_H_
