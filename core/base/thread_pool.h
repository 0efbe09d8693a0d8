// A fixed set of threads that runs indexed loops.
//
//   ThreadPool pool(2);
//   pool.ParallelFor(tiles, [&](int64_t tile) { ... });   // returns when all tiles are done
//
// Which thread takes which index is not defined, so that determinism rests on the caller: tile sizes must not depend on
// thread_count(), and no two indices may write the same memory. The calling thread takes part. ParallelFor may be
// called from one thread at a time; a call from inside a loop body runs inline. Bodies must not throw.
#ifndef QUANTD_CORE_BASE_THREAD_POOL_H_
#define QUANTD_CORE_BASE_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quantd {

class ThreadPool {
 public:
  // `thread_count` >= 1 includes the caller: 1 starts no thread at all.
  explicit ThreadPool(int thread_count);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int thread_count() const { return static_cast<int>(threads_.size()) + 1; }
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& body);

 private:
  struct Loop {
    const std::function<void(int64_t)>* body;
    int64_t count;
    std::atomic<int64_t> next{0};
    std::atomic<int> helpers_inside{0};  // changed under mutex_
  };
  void HelperMain();
  static void RunLoop(Loop& loop);

  // The standard mutex and not Abseil's: ThreadSanitizer sees it, while Debian's Abseil is built without the sanitizer.
  std::mutex mutex_;
  std::condition_variable work_or_stop_;
  std::condition_variable helpers_left_;
  // Guarded by mutex_:
  Loop* loop_ = nullptr;
  bool stopping_ = false;
  std::atomic<int64_t> generation_{0};  // of loop_; changed under mutex_

  std::vector<std::thread> threads_;
};

// Cores this process may use: its CPU affinity, or the quota of its container (rounded up) where that is lower.
int AvailableCores();

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_THREAD_POOL_H_
