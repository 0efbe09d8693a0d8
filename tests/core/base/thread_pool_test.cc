#include "core/base/thread_pool.h"

#include <atomic>
#include <barrier>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::Each;

class ThreadPoolTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

TEST_P(ThreadPoolTest, RunsEachIndexOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.thread_count(), GetParam());
  for (const int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
    pool.ParallelFor(count, [&](int64_t i) { ++runs[i]; });
    EXPECT_THAT(std::vector<int>(runs.begin(), runs.end()), Each(1)) << count;
  }
  pool.ParallelFor(-1, [](int64_t) { ADD_FAILURE() << "a negative count runs nothing"; });
}

TEST_P(ThreadPoolTest, ALoopInsideALoopRunsInline) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> runs(20 * 30);
  pool.ParallelFor(20, [&](int64_t outer) {
    const std::thread::id here = std::this_thread::get_id();
    pool.ParallelFor(30, [&](int64_t inner) {
      EXPECT_EQ(std::this_thread::get_id(), here);
      ++runs[outer * 30 + inner];
    });
  });
  EXPECT_THAT(std::vector<int>(runs.begin(), runs.end()), Each(1));
}

// Every write of a loop is seen after it, and loops do not overlap: thousands of short ones back to back.
TEST_P(ThreadPoolTest, LoopsFollowEachOther) {
  ThreadPool pool(GetParam());
  std::vector<int64_t> values(16, 0);
  for (int round = 0; round < 3000; ++round) {
    pool.ParallelFor(16, [&](int64_t i) { ++values[i]; });
  }
  EXPECT_THAT(values, Each(3000));
}

TEST_P(ThreadPoolTest, AllThreadsTakePart) {
  const int threads = GetParam();
  ThreadPool pool(threads);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::barrier barrier(threads);  // passes only when as many bodies run at once
  pool.ParallelFor(threads, [&](int64_t) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    barrier.arrive_and_wait();
  });
  EXPECT_EQ(seen.size(), static_cast<size_t>(threads));
}

TEST(ThreadPool, IdlePoolsEnd) {
  for (int i = 0; i < 200; ++i) ThreadPool pool(4);
}

TEST(ThreadPool, TwoPoolsWorkSideBySide) {
  std::atomic<int> total{0};
  std::thread other([&] {
    ThreadPool pool(2);
    for (int i = 0; i < 200; ++i) pool.ParallelFor(10, [&](int64_t) { ++total; });
  });
  ThreadPool pool(2);
  for (int i = 0; i < 200; ++i) pool.ParallelFor(10, [&](int64_t) { ++total; });
  other.join();
  EXPECT_EQ(total, 4000);
}

TEST(AvailableCores, IsPositive) {
  EXPECT_GE(AvailableCores(), 1);
}

}  // namespace
}  // namespace quantd
