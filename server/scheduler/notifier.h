// Wakes threads that wait for news, without losing any: read the generation, look, then wait for a later generation.
//
//   uint64_t seen = notifier.generation();
//   while (!Look()) seen = notifier.WaitBeyond(seen, absl::Milliseconds(250));
//
// Thread-safe.
#ifndef QUANTD_SERVER_SCHEDULER_NOTIFIER_H_
#define QUANTD_SERVER_SCHEDULER_NOTIFIER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

#include "absl/time/time.h"

namespace quantd {

class Notifier {
 public:
  void Notify() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++generation_;
    }
    changed_.notify_all();
    const std::lock_guard<std::mutex> lock(listener_mutex_);
    if (listener_ != nullptr) listener_();
  }

  // Also calls `listener` with every Notify, in that thread: it must be short and call nothing of this object. Null
  // takes it away; it is not running any more when that returns.
  void SetListener(std::function<void()> listener) {
    const std::lock_guard<std::mutex> lock(listener_mutex_);
    listener_ = std::move(listener);
  }

  uint64_t generation() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return generation_;
  }

  // Returns the generation as soon as it is beyond `seen`, at the latest after `timeout` (real time).
  uint64_t WaitBeyond(uint64_t seen, absl::Duration timeout) const {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [&] { return generation_ > seen; });
    return generation_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  uint64_t generation_ = 0;  // guarded by mutex_
  std::mutex listener_mutex_;
  std::function<void()> listener_;  // guarded by listener_mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_NOTIFIER_H_
