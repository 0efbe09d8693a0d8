// A job that is given to a call its worker has given up must reach the worker through its next call.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;

// Runs `hook` the next time that one thread asks for the time, once.
class HookedClock : public Clock {
 public:
  explicit HookedClock(Clock& clock) : clock_(clock) {}
  absl::Time Now() override {
    if (std::this_thread::get_id() == thread && armed.exchange(false)) hook();
    return clock_.Now();
  }
  std::thread::id thread;
  std::function<void()> hook;
  std::atomic<bool> armed{false};

 private:
  Clock& clock_;
};

std::vector<std::string> JobsIn(const absl::StatusOr<v1::SynchronizeResponse>& response) {
  std::vector<std::string> jobs;
  if (!response.ok()) return jobs;
  for (const v1::Assignment& assignment : response->assignments()) jobs.push_back(assignment.job());
  return jobs;
}

TEST_F(SchedulerTest, JobClaimedByACallThatWasGivenUpReachesTheNextCallAtOnce) {
  constexpr int kPollMs = 10'000;
  const auto settle = [] { std::this_thread::sleep_for(std::chrono::milliseconds(100)); };
  HookedClock clock(clock_);
  scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{.lease = kLease},
                                           SchedulerServices{*store_, *artifacts_, clock, metrics_});
  v1::SynchronizeRequest request = Request("w");
  request.set_poll_ms(kPollMs);
  const auto call = [&] { return scheduler_->Synchronize(request, [] { return false; }); };

  absl::StatusOr<v1::SynchronizeResponse> of_second;
  std::thread second;
  // Between the first call's look whether it is still wanted and its claim: the second call comes, finds nothing and
  // waits, and a job is queued.
  clock.hook = [&] {
    second = std::thread([&] { of_second = call(); });
    while (scheduler_->workers().IsNewest("w", 1)) std::this_thread::yield();
    settle();
    NewJob job;
    job.id = "a";
    job.spec.mutable_recipe()->set_preset("gptq");
    job.create_time = clock_.Now();
    EXPECT_OK(store_->Submit(job, {}));
  };
  std::thread first([&] {
    clock.thread = std::this_thread::get_id();
    EXPECT_THAT(JobsIn(call()), ElementsAre("a"));
  });
  settle();
  clock.armed = true;
  const auto begin = std::chrono::steady_clock::now();
  Submit("for-another-worker", "cuda");
  scheduler_->JobsChangedElsewhere();  // wakes the first call
  first.join();
  ASSERT_TRUE(second.joinable());
  second.join();
  EXPECT_THAT(JobsIn(of_second), ElementsAre("a"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(kPollMs / 2));
  scheduler_.reset();  // it uses the clock
}

}  // namespace
}  // namespace quantd
