// Trying again: growing pauses with jitter, so that many clients do not come back all at once.
#ifndef QUANTD_CORE_OBJECTS_RETRY_H_
#define QUANTD_CORE_OBJECTS_RETRY_H_

#include <functional>

#include "absl/time/time.h"

namespace quantd {

struct RetryPolicy {
  int attempts = 6;  // the first included
  absl::Duration first_pause = absl::Milliseconds(200);
  absl::Duration longest_pause = absl::Seconds(5);
};

// The pause after the `failures`-th failure (1 for the first): between half and the whole of first_pause *
// 2^(failures-1), at most longest_pause. `random` is in [0, 1).
absl::Duration PauseAfter(const RetryPolicy& policy, int failures, double random);

// False when `stop_requested` said so meanwhile.
bool SleepUnlessStopped(absl::Duration duration, const std::function<bool()>& stop_requested);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_RETRY_H_
