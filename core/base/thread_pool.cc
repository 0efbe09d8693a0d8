#include "core/base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace quantd {
namespace {

thread_local bool inside_loop = false;

}  // namespace

ThreadPool::ThreadPool(int thread_count) {
  for (int i = 1; i < thread_count; ++i) threads_.emplace_back([this] { HelperMain(); });
}

ThreadPool::~ThreadPool() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
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
    Loop* loop;
    {
      absl::MutexLock lock(&mutex_);
      const auto has_work = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
        return stopping_ || (loop_ != nullptr && generation_ != seen);
      };
      mutex_.Await(absl::Condition(&has_work));
      if (stopping_) return;
      seen = generation_;
      loop = loop_;
      ++loop->helpers_inside;
    }
    RunLoop(*loop);
    absl::MutexLock lock(&mutex_);
    --loop->helpers_inside;
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
    absl::MutexLock lock(&mutex_);
    loop_ = &loop;
    ++generation_;
  }
  RunLoop(loop);
  absl::MutexLock lock(&mutex_);
  loop_ = nullptr;
  const auto all_left = [&] { return loop.helpers_inside == 0; };
  mutex_.Await(absl::Condition(&all_left));
}

int AvailableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace quantd
