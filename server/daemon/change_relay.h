// Passes what other servers say of their changes on to this server's scheduler, as long as there is one: the store,
// which hears it on a thread of its own, lives longer.
#ifndef QUANTD_SERVER_DAEMON_CHANGE_RELAY_H_
#define QUANTD_SERVER_DAEMON_CHANGE_RELAY_H_

#include <mutex>

#include "server/scheduler/scheduler.h"

namespace quantd {

// Thread-safe.
class ChangeRelay {
 public:
  // Null takes it away; it is not being called any more when that returns.
  void SetScheduler(Scheduler* scheduler) {
    const std::lock_guard<std::mutex> lock(mutex_);
    scheduler_ = scheduler;
  }
  void JobsChanged() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (scheduler_ != nullptr) scheduler_->JobsChangedElsewhere();
  }

 private:
  std::mutex mutex_;
  Scheduler* scheduler_ = nullptr;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_CHANGE_RELAY_H_
