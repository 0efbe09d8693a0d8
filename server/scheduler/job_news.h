// Passes on which jobs have changed, to whoever shows them to users.
#ifndef QUANTD_SERVER_SCHEDULER_JOB_NEWS_H_
#define QUANTD_SERVER_SCHEDULER_JOB_NEWS_H_

#include <functional>
#include <mutex>
#include <utility>

#include "absl/strings/string_view.h"

namespace quantd {

// Thread-safe.
class JobNews {
 public:
  // Empty: any of the jobs, for instance when another server changed it.
  using Listener = std::function<void(absl::string_view job)>;

  // After the change has been committed.
  void Changed(absl::string_view job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (listener_ != nullptr) listener_(job);
  }
  void AnyChanged() { Changed({}); }

  // Called in the thread that made the change: it must be short and call nothing of this object. Null takes it away; it
  // is not running any more when that returns.
  void SetListener(Listener listener) {
    const std::lock_guard<std::mutex> lock(mutex_);
    listener_ = std::move(listener);
  }

 private:
  std::mutex mutex_;
  Listener listener_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_JOB_NEWS_H_
