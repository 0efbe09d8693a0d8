// Pauses that grow, with jitter, so that many clients of one server that went away do not come back in step.
#ifndef QUANTD_SERVER_STORE_BACKOFF_H_
#define QUANTD_SERVER_STORE_BACKOFF_H_

#include <algorithm>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace quantd {

struct BackoffLimits {
  absl::Duration first;
  absl::Duration longest;
};

// The pause after failure number `failures` (from 1): the limit doubles each time, the pause is between half of it and
// all of it.
inline absl::Duration BackoffAfter(int failures, const BackoffLimits& limits) {
  thread_local absl::BitGen random;
  constexpr int kMostDoublings = 30;
  const absl::Duration limit =
      std::min(limits.longest, limits.first * (int64_t{1} << std::clamp(failures - 1, 0, kMostDoublings)));
  return limit * absl::Uniform(random, 0.5, 1.0);
}

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_BACKOFF_H_
