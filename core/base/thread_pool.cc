#include "core/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>

#include "core/base/container_limits.h"

namespace quantd {
namespace {

thread_local bool inside_loop = false;

// Loops often follow each other within microseconds, while waking a sleeping thread takes tens of them: so look for a
// while before going to sleep. About 20 us.
constexpr int kLooks = 1000;

template <typename Condition>
void LookFor(const Condition& condition) {
  for (int i = 0; i < kLooks && !condition(); ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

}  // namespace

ThreadPool::ThreadPool(int thread_count) {
  for (int i = 1; i < thread_count; ++i) threads_.emplace_back([this] { HelperMain(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  work_or_stop_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::RunLoop(Loop& loop) {
  inside_loop = true;
  for (int64_t i = loop.next++; i < loop.count; i = loop.next++) (*loop.body)(i);
  inside_loop = false;
}

void ThreadPool::HelperMain() {
  int64_t seen = 0;
  while (true) {
    LookFor([&] { return generation_ != seen; });
    std::unique_lock<std::mutex> lock(mutex_);
    work_or_stop_.wait(lock, [&] { return stopping_ || (loop_ != nullptr && generation_ != seen); });
    if (stopping_) return;
    seen = generation_;
    Loop* const loop = loop_;
    ++loop->helpers_inside;
    lock.unlock();
    RunLoop(*loop);
    lock.lock();
    if (--loop->helpers_inside == 0) helpers_left_.notify_one();
  }
}

void ThreadPool::ParallelFor(int64_t count, const std::function<void(int64_t)>& body) {
  if (count <= 0) return;
  if (threads_.empty() || count == 1 || inside_loop) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  Loop loop{.body = &body, .count = count};
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    loop_ = &loop;
    ++generation_;
  }
  work_or_stop_.notify_all();
  RunLoop(loop);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    loop_ = nullptr;  // nobody enters any more
  }
  LookFor([&] { return loop.helpers_inside == 0; });
  std::unique_lock<std::mutex> lock(mutex_);
  helpers_left_.wait(lock, [&] { return loop.helpers_inside == 0; });
}

int AvailableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  const double quota = std::ceil(ReadContainerLimits().cpus);
  return static_cast<int>(std::max(1.0, std::min<double>(CPU_COUNT(&set), quota)));
}

}  // namespace quantd
