// Names of things that one holder at a time works on: files being written, jobs being ended.
//
//   const HeldNames::Hold hold = names.Take(id);   // waits for its turn; frees the name when it goes out of scope
//
// Thread-safe. Holds must not outlive their set.
#ifndef QUANTD_CORE_BASE_HELD_NAMES_H_
#define QUANTD_CORE_BASE_HELD_NAMES_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

class HeldNames {
 private:
  struct Release {
    HeldNames* names = nullptr;
    void operator()(const std::string* name) const { names->Free(name); }
  };

 public:
  using Hold = std::unique_ptr<const std::string, Release>;

  // Waits while another holds the name.
  Hold Take(absl::string_view name) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::string wanted(name);
    freed_.wait(lock, [&] { return held_.count(wanted) == 0; });
    return Hold(&*held_.insert(wanted).first, Release{this});
  }

  // Null when another holds it.
  Hold TryTake(absl::string_view name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [place, free] = held_.emplace(name);
    return Hold(free ? &*place : nullptr, Release{this});
  }

 private:
  void Free(const std::string* name) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      held_.erase(held_.find(*name));
    }
    freed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable freed_;
  std::set<std::string> held_;  // guarded by mutex_; its nodes stay where they are
};

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_HELD_NAMES_H_
