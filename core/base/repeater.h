// Calls a function on a thread of its own until it is destroyed, first after one period.
#ifndef QUANTD_CORE_BASE_REPEATER_H_
#define QUANTD_CORE_BASE_REPEATER_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/time/time.h"

namespace quantd {

class Repeater {
 public:
  Repeater(absl::Duration period, std::function<void()> body)
      : period_(period), body_(std::move(body)), thread_([this] { Run(); }) {}
  Repeater(const Repeater&) = delete;
  Repeater& operator=(const Repeater&) = delete;
  ~Repeater() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stop_.wait_for(lock, absl::ToChronoNanoseconds(period_), [&] { return stopping_; })) {
      lock.unlock();
      body_();
      lock.lock();
    }
  }

  const absl::Duration period_;
  const std::function<void()> body_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;     // last: uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_REPEATER_H_
