// Calls a function regularly on a thread of its own until it is destroyed.
#ifndef QUANTD_SERVER_DAEMON_SWEEPER_H_
#define QUANTD_SERVER_DAEMON_SWEEPER_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/time/time.h"

namespace quantd {

class Sweeper {
 public:
  Sweeper(absl::Duration period, std::function<void()> sweep)
      : period_(period), sweep_(std::move(sweep)), thread_([this] { Run(); }) {}
  Sweeper(const Sweeper&) = delete;
  Sweeper& operator=(const Sweeper&) = delete;
  ~Sweeper() {
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
      sweep_();
      lock.lock();
    }
  }

  const absl::Duration period_;
  const std::function<void()> sweep_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;     // last: uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_SWEEPER_H_
