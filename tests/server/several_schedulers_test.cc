// Several servers on one store, as schedulers in one process: what each decides alone, and what the rows decide.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/server/forwarding_artifact_store.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using v1::FinishedJob;
using v1::QuantJob;

constexpr absl::Duration kMoment = absl::Milliseconds(1);

// Does something of the test's own in the middle of a publish.
class SlowStore : public ForwardingArtifactStore {
 public:
  SlowStore(ArtifactStore& real, std::function<void()> meanwhile)
      : ForwardingArtifactStore(real), meanwhile_(std::move(meanwhile)) {}
  absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) override {
    meanwhile_();
    return ForwardingArtifactStore::Publish(key, artifact);
  }

 private:
  const std::function<void()> meanwhile_;
};

class SeveralSchedulersTest : public SchedulerTest {
 protected:
  void SetUp() override {
    SchedulerTest::SetUp();
    other_ = MakeServer(*artifacts_);
  }
  std::unique_ptr<Scheduler> MakeServer(ArtifactStore& artifacts, absl::Duration lease = kLease) {
    return std::make_unique<Scheduler>(SchedulerOptions{.lease = lease},
                                       SchedulerServices{*store_, artifacts, clock_, metrics_});
  }
  // A call of a worker at the other server.
  v1::SynchronizeResponse AnswerOfOther(const v1::SynchronizeRequest& request) {
    auto response = other_->Synchronize(request, [] { return false; });
    EXPECT_OK(response);
    return response.ok() ? *std::move(response) : v1::SynchronizeResponse();
  }

  std::unique_ptr<Scheduler> other_;
};

TEST_F(SeveralSchedulersTest, AWorkerMovesBetweenServersWithItsJob) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  v1::SynchronizeRequest request = Request("w");
  v1::RunningJob& running = *request.add_running();
  running.set_job("a");
  running.set_fence(1);
  clock_.Advance(kLease - kMoment);
  const v1::SynchronizeResponse moved = AnswerOfOther(request);
  EXPECT_THAT(Fences(moved.stale()), IsEmpty());
  EXPECT_EQ(moved.assignments_size(), 0);
  clock_.Advance(kLease - kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING) << "renewed at the other server";
}

TEST_F(SeveralSchedulersTest, AnAssignmentWhoseAnswerWasLostIsRepeatedByTheOtherServer) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  const v1::SynchronizeResponse again = AnswerOfOther(Request("w"));
  ASSERT_EQ(again.assignments_size(), 1);
  EXPECT_EQ(again.assignments(0).fence(), 1);
}

TEST_F(SeveralSchedulersTest, BothSweepAndOneAttemptIsCharged) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  clock_.Advance(kLease);
  std::thread also([&] { EXPECT_OK(other_->Sweep()); });
  EXPECT_OK(scheduler_->Sweep());
  also.join();
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
  EXPECT_EQ(Job("a").attempt(), 1);
}

TEST_F(SeveralSchedulersTest, AServerThatStartsSparesLeasesForAPeriodAndTheOthersDoNot) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  clock_.Advance(kLease - kMoment);
  other_->SpareLeases();
  clock_.Advance(kMoment);
  ASSERT_OK(other_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING) << "its worker had no chance to renew at this server";
  clock_.Advance(kLease - kMoment);
  ASSERT_OK(other_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);

  ASSERT_THAT(Assigned(Request("v")), ElementsAre("a:2"));
  clock_.Advance(kLease - kMoment);
  other_->SpareLeases();
  clock_.Advance(kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED) << "a server that was there all the time";
}

// Publishing takes longer than the lease, and only the server that publishes knows.
TEST_F(SeveralSchedulersTest, ALongPublicationKeepsItsLease) {
  constexpr absl::Duration kShortLease = absl::Milliseconds(300);
  std::atomic<bool> spared{true};
  const auto meanwhile = [&] {
    const absl::Time first = Record("a").lease_deadline;
    clock_.Advance(kShortLease - kMoment);
    // Renewed by the real clock, every third of the lease.
    const absl::Time end = RealClock().Now() + absl::Seconds(20);
    while (Record("a").lease_deadline == first && RealClock().Now() < end) absl::SleepFor(absl::Milliseconds(5));
    clock_.Advance(kMoment);
    EXPECT_OK(other_->Sweep());
    spared = Job("a").state() == QuantJob::RUNNING;
  };
  SlowStore slow(*artifacts_, meanwhile);
  scheduler_ = MakeServer(slow, kShortLease);
  other_ = MakeServer(*artifacts_, kShortLease);
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  EXPECT_THAT(Fences(Finish("w", Uploaded("a", 1)).acknowledged()), ElementsAre("a:1"));
  EXPECT_TRUE(spared);
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
}

TEST_F(SeveralSchedulersTest, ACancelAtOneServerEndsTheWaitAtTheOther) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  v1::SynchronizeRequest request = Request("w");
  request.set_poll_ms(60'000);
  v1::RunningJob& running = *request.add_running();
  running.set_job("a");
  running.set_fence(1);
  std::atomic<bool> waits{false}, answered{false};
  std::thread worker([&] {
    const auto response = other_->Synchronize(request, [&] {
      waits = true;  // asked only after the first second of the wait
      return false;
    });
    ASSERT_OK(response);
    EXPECT_THAT(Fences(response->cancel()), ElementsAre("a:1"));
    answered = true;
  });
  while (!waits) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_OK(scheduler_->Cancel("a"));
  // As the hint of another server does, and the sweep when it was lost; without it the worker waits for 5 s.
  const absl::Time begin = RealClock().Now();
  while (!answered) {
    other_->JobsChangedElsewhere();
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_LT(RealClock().Now() - begin, absl::Seconds(2));
  worker.join();
}

TEST_F(SeveralSchedulersTest, CancelledWhileAnotherServerPublishesIsCancelled) {
  const auto meanwhile = [&] { EXPECT_OK(other_->Cancel("a")); };
  SlowStore slow(*artifacts_, meanwhile);
  scheduler_ = MakeServer(slow);
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  EXPECT_THAT(Fences(Finish("w", Uploaded("a", 1)).acknowledged()), ElementsAre("a:1"));
  EXPECT_EQ(Job("a").state(), QuantJob::CANCELLED) << "the first commit decides";
  EXPECT_FALSE(Job("a").has_artifact());
}

}  // namespace
}  // namespace quantd
