// Jobs whose end is being decided: from the first file that is published to the row that says so, nobody else may end
// the job, or its published files would belong to nobody.
//
//   const BusyJobs::Hold hold = busy.Take(id);   // waits for its turn, frees the job when it goes out of scope
//
// Thread-safe.
#ifndef QUANTD_SERVER_SCHEDULER_BUSY_JOBS_H_
#define QUANTD_SERVER_SCHEDULER_BUSY_JOBS_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

class BusyJobs {
 private:
  struct Release {
    BusyJobs* jobs;
    void operator()(const std::string* id) const { jobs->Free(id); }
  };

 public:
  using Hold = std::unique_ptr<const std::string, Release>;

  // Waits while another holds the job.
  Hold Take(absl::string_view id) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::string name(id);
    freed_.wait(lock, [&] { return held_.count(name) == 0; });
    return Hold(&*held_.insert(name).first, Release{this});
  }

  // Null when another holds it.
  Hold TryTake(absl::string_view id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [place, free] = held_.emplace(id);
    return Hold(free ? &*place : nullptr, Release{this});
  }

 private:
  void Free(const std::string* id) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      held_.erase(held_.find(*id));
    }
    freed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable freed_;
  std::set<std::string> held_;  // guarded by mutex_; its nodes stay where they are
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_BUSY_JOBS_H_
