// Repeating calls that failed for reasons that pass, until told to stop.
#ifndef QUANTD_WORKER_AGENT_RETRY_H_
#define QUANTD_WORKER_AGENT_RETRY_H_

#include <algorithm>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/agent/rpc_status.h"

namespace quantd {

// Waits for `duration` or until stopped; false when stopped.
bool SleepUnlessStopped(absl::Duration duration, const std::stop_token& stop);

inline const absl::Status& StatusOf(const absl::Status& status) {
  return status;
}
template <typename Value>
const absl::Status& StatusOf(const absl::StatusOr<Value>& value) {
  return value.status();
}

// The first result of `call` that is OK or an error that no repetition would cure; once stopped, the last one.
template <typename Call>
auto RetryTransient(const std::stop_token& stop, const Call& call) -> decltype(call()) {
  absl::Duration backoff = absl::Milliseconds(100);
  while (true) {
    auto result = call();
    if (!IsTransient(StatusOf(result)) || !SleepUnlessStopped(backoff, stop)) return result;
    backoff = std::min(backoff * 2, absl::Seconds(5));
  }
}

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_RETRY_H_
