// Cancel against completion: whoever commits first wins, the job has one terminal state, and that never changes.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/server/daemon_fixture.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::FinishedJob;
using v1::QuantJob;

// Lets both sides begin at the same moment.
class StartingGun {
 public:
  explicit StartingGun(int runners) : missing_(runners) {}
  void Wait() {
    --missing_;
    while (missing_ > 0) std::this_thread::yield();
  }

 private:
  std::atomic<int> missing_;
};

class CancelRaceTest : public SchedulerTest {
 protected:
  // The job after both sides have had their answers. Recording a result takes longer than asking for a cancel: `delay`
  // gives the result its chance to be first.
  QuantJob Race(const std::string& id, FinishedJob::Outcome outcome, std::chrono::microseconds delay,
                QuantJob::State* told) {
    Submit(id);
    const v1::SynchronizeResponse answer = Answer(Request("w1"));
    EXPECT_EQ(answer.assignments_size(), 1);
    const int64_t fence = answer.assignments(0).fence();
    const FinishedJob finished =
        outcome == FinishedJob::OUTCOME_SUCCEEDED ? Uploaded(id, fence, id) : Finished(id, fence, outcome);
    StartingGun gun(2);
    std::thread canceller([&] {
      gun.Wait();
      std::this_thread::sleep_for(delay);
      const auto cancelled = scheduler_->Cancel(id);
      EXPECT_OK(cancelled);
      if (cancelled.ok()) *told = cancelled->job.state();
    });
    gun.Wait();
    Finish("w1", finished);
    canceller.join();
    // A worker that was told to cancel ends its child.
    if (Job(id).state() == QuantJob::CANCELLING) Finish("w1", Finished(id, fence, FinishedJob::OUTCOME_CANCELLED));
    return Job(id);
  }

  // Everything that could still touch an ended job.
  void Disturb(const std::string& id) {
    EXPECT_OK(scheduler_->Cancel(id));
    for (const auto outcome : {FinishedJob::OUTCOME_SUCCEEDED, FinishedJob::OUTCOME_FAILED,
                               FinishedJob::OUTCOME_RETURNED, FinishedJob::OUTCOME_CANCELLED}) {
      Finish("w1", Finished(id, 1, outcome));
    }
    EXPECT_OK(scheduler_->Sweep());
  }
};

TEST_F(CancelRaceTest, ThousandRacesEndInOneTerminalStateEach) {
  constexpr int kRaces = 1000;
  int cancelled = 0;
  for (int i = 0; i < kRaces; ++i) {
    const std::string id = absl::StrCat("job-", i);
    const bool succeeds = i % 4 == 0;  // with files to publish; else a failure, which is recorded faster
    QuantJob::State told = QuantJob::STATE_UNSPECIFIED;
    const QuantJob job = Race(id, succeeds ? FinishedJob::OUTCOME_SUCCEEDED : FinishedJob::OUTCOME_FAILED,
                              std::chrono::microseconds(i % 20 * 100), &told);
    ASSERT_TRUE(IsTerminal(job.state())) << StateName(job.state());
    const QuantJob::State unhindered = succeeds ? QuantJob::SUCCEEDED : QuantJob::FAILED;
    // CANCELLING and CANCELLED promise the end that follows; else the answer is the end itself.
    const bool promised = told == QuantJob::CANCELLING || told == QuantJob::CANCELLED;
    ASSERT_EQ(job.state(), promised ? QuantJob::CANCELLED : unhindered) << "told " << StateName(told);
    ASSERT_EQ(job.has_artifact(), job.state() == QuantJob::SUCCEEDED);
    cancelled += job.state() == QuantJob::CANCELLED ? 1 : 0;
    if (i % 50 != 0) continue;
    Disturb(id);
    ASSERT_EQ(Job(id).SerializeAsString(), job.SerializeAsString());
  }
  RecordProperty("cancelled", cancelled);
  EXPECT_GT(cancelled, 0) << "no cancel was ever first: this raced nothing";
  EXPECT_LT(cancelled, kRaces) << "no result was ever first: this raced nothing";
}

class CancelRpcTest : public DaemonTest {};

TEST_F(CancelRpcTest, RacesOverTheWireEndTheSame) {
  for (int i = 0; i < 20; ++i) {
    const std::string name = Submitted();
    const v1::Assignment job = TakeJob();
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    v1::FinishedJob* finished = request.add_finished();
    finished->set_job(job.job());
    finished->set_fence(job.fence());
    finished->set_outcome(FinishedJob::OUTCOME_FAILED);
    StartingGun gun(2);
    std::thread canceller([&] {
      gun.Wait();
      EXPECT_OK(Cancel(name));
    });
    gun.Wait();
    EXPECT_OK(Synchronize(request));
    canceller.join();
    const auto now = Get(name);
    if (now.ok() && now->state() == QuantJob::CANCELLING) {
      EXPECT_OK(Synchronize(request));
    }
    ASSERT_OK_AND_ASSIGN(const QuantJob ended, Get(name));
    EXPECT_TRUE(ended.state() == QuantJob::CANCELLED || ended.state() == QuantJob::FAILED) << StateName(ended.state());
    ASSERT_OK_AND_ASSIGN(const QuantJob after, Cancel(name));
    EXPECT_EQ(after.SerializeAsString(), ended.SerializeAsString());
  }
}

// The promise is 100 ms; one commit and one round trip are a few. The best of ten leaves the machine's other work out.
TEST_F(CancelRpcTest, QueuedJobIsCancelledWithinItsPromise) {
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < 10; ++i) {
    const std::string name = Submitted();
    const absl::Time begin = absl::Now();
    ASSERT_OK_AND_ASSIGN(const QuantJob job, Cancel(name));
    best = std::min(best, absl::Now() - begin);
    EXPECT_EQ(job.state(), QuantJob::CANCELLED);
  }
  EXPECT_LE(best, absl::Milliseconds(100));
}

}  // namespace
}  // namespace quantd
