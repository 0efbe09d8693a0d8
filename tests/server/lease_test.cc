// Leases: who holds a job, for how long, and what those hear who do not hold it any more.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/scheduler/transitions.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using v1::FinishedJob;
using v1::QuantJob;

constexpr absl::Duration kMoment = absl::Milliseconds(1);

class LeaseTest : public SchedulerTest {
 protected:
  // `id` runs on `worker` with its first fence.
  void Start(const std::string& id, const std::string& worker) {
    Submit(id);
    ASSERT_THAT(Assigned(Request(worker)), ElementsAre(id + ":1"));
  }
  void LetExpire() {
    clock_.Advance(kLease);
    ASSERT_OK(scheduler_->Sweep());
  }
  void PassRequeueDelay() { clock_.Advance(kLongestPause); }
  bool IsStaged(const std::string& id, int64_t fence) {
    return RealFileSystem().Exists(absl::StrCat(directory_, "/staging/", id, "/", fence));
  }
};

TEST_F(LeaseTest, LastsItsTimeAndNotAMomentLonger) {
  Start("a", "w");
  clock_.Advance(kLease - kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
  clock_.Advance(kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
  EXPECT_EQ(Job("a").attempt(), 1) << "the attempt is charged";
}

TEST_F(LeaseTest, EachHeartbeatRenewsItInFull) {
  Start("a", "w");
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(kLease - kMoment);
    EXPECT_THAT(Fences(Heartbeat("w", "a", 1).stale()), IsEmpty());
    ASSERT_OK(scheduler_->Sweep());
  }
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
}

TEST_F(LeaseTest, ExpiredJobGoesToAnotherWorkerWithAHigherFence) {
  Start("a", "slow");
  LetExpire();
  PassRequeueDelay();
  EXPECT_THAT(Assigned(Request("fast")), ElementsAre("a:2"));
  EXPECT_EQ(Job("a").worker(), "fast");
  EXPECT_EQ(Job("a").attempt(), 2);
}

// The lease was pause enough the first time; after that there is a real one.
TEST_F(LeaseTest, JobOfALostWorkerGoesOnAtOnceAndWithAPauseTheNextTime) {
  Start("a", "w");
  LetExpire();
  EXPECT_THAT(Assigned(Request("other")), ElementsAre("a:2"));
  EXPECT_EQ(Job("a").last_failure().reason(), "WORKER_LOST");
  LetExpire();
  EXPECT_THAT(Assigned(Request("third")), IsEmpty());
  clock_.Advance(RequeuePolicy().first_pause * 6 / 5);
  EXPECT_THAT(Assigned(Request("third")), ElementsAre("a:3"));
}

TEST_F(LeaseTest, FenceGrowsThroughRestarts) {
  Start("a", "w");
  for (int64_t fence = 2; fence <= kDefaultMaxAttempts; ++fence) {
    LetExpire();
    PassRequeueDelay();
    Restart();
    EXPECT_THAT(Assigned(Request("w")), ElementsAre(absl::StrCat("a:", fence)));
  }
}

// What a worker may try with the fence of a lease that has gone to another worker.
TEST_F(LeaseTest, OldFenceIsRefusedEverywhere) {
  Start("a", "slow");
  const FinishedJob old_result = Uploaded("a", 1);
  LetExpire();
  EXPECT_FALSE(IsStaged("a", 1)) << "what the lost attempt staged is gone";
  PassRequeueDelay();
  ASSERT_THAT(Assigned(Request("fast")), ElementsAre("a:2"));

  EXPECT_THAT(Fences(Heartbeat("slow", "a", 1).stale()), ElementsAre("a:1"));
  EXPECT_THAT(scheduler_->CheckLease("a", 1), FailsWith("STALE_LEASE", "fence 1"));
  EXPECT_EQ(scheduler_->CheckLease("a", 1).code(), absl::StatusCode::kAborted);
  for (const FinishedJob::Outcome outcome : {FinishedJob::OUTCOME_SUCCEEDED, FinishedJob::OUTCOME_FAILED,
                                             FinishedJob::OUTCOME_CANCELLED, FinishedJob::OUTCOME_RETURNED}) {
    FinishedJob finished = old_result;
    finished.set_outcome(outcome);
    const v1::SynchronizeResponse answer = Finish("slow", finished);
    EXPECT_THAT(Fences(answer.stale()), ElementsAre("a:1")) << outcome;
    EXPECT_THAT(Fences(answer.acknowledged()), IsEmpty()) << outcome;
  }
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
  EXPECT_EQ(Job("a").worker(), "fast");

  EXPECT_THAT(Fences(Finish("fast", Uploaded("a", 2)).acknowledged()), ElementsAre("a:2"));
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
}

TEST_F(LeaseTest, OldFenceIsRefusedAfterTheEndToo) {
  Start("a", "w");
  ASSERT_THAT(Fences(Finish("w", Uploaded("a", 1)).acknowledged()), ElementsAre("a:1"));
  const std::string before = Job("a").SerializeAsString();
  EXPECT_THAT(scheduler_->CheckLease("a", 1), FailsWith("STALE_LEASE", "SUCCEEDED"));
  EXPECT_THAT(Fences(Heartbeat("w", "a", 1).stale()), ElementsAre("a:1"));
  FinishedJob failed = Finished("a", 1, FinishedJob::OUTCOME_FAILED);
  EXPECT_THAT(Fences(Finish("w", failed).acknowledged()), ElementsAre("a:1")) << "the reply may have been lost";
  EXPECT_EQ(Job("a").SerializeAsString(), before);
}

TEST_F(LeaseTest, UnknownJobIsStale) {
  EXPECT_THAT(Fences(Heartbeat("w", "nobody", 1).stale()), ElementsAre("nobody:1"));
  EXPECT_THAT(Fences(Finish("w", Finished("nobody", 1, FinishedJob::OUTCOME_FAILED)).stale()), ElementsAre("nobody:1"));
}

TEST_F(LeaseTest, JobThatLosesEveryWorkerFails) {
  Submit("a");
  for (int attempt = 1; attempt <= kDefaultMaxAttempts; ++attempt) {
    PassRequeueDelay();
    ASSERT_THAT(Assigned(Request("w")), ElementsAre(absl::StrCat("a:", attempt)));
    LetExpire();
  }
  const QuantJob job = Job("a");
  EXPECT_EQ(job.state(), QuantJob::FAILED);
  EXPECT_EQ(job.error().reason(), "WORKER_LOST");
  EXPECT_THAT(job.error().message(), HasSubstr("worker w did not renew its lease, in attempt 3 of 3"));
  PassRequeueDelay();
  EXPECT_THAT(Assigned(Request("w")), IsEmpty());
}

TEST_F(LeaseTest, ReturnedJobIsNotChargedAndStartsAtOnce) {
  Start("a", "w");
  for (int64_t fence = 1; fence <= 2 * kDefaultMaxAttempts; ++fence) {
    ASSERT_THAT(Fences(Finish("w", Finished("a", fence, FinishedJob::OUTCOME_RETURNED)).acknowledged()),
                ElementsAre(absl::StrCat("a:", fence)));
    EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
    EXPECT_EQ(Job("a").attempt(), 0);
    ASSERT_THAT(Assigned(Request("w")), ElementsAre(absl::StrCat("a:", fence + 1)));
  }
}

TEST_F(LeaseTest, FailureIsFinalAndKeepsWhatTheWorkerSaid) {
  Start("a", "w");
  FinishedJob finished = Finished("a", 1, FinishedJob::OUTCOME_FAILED);
  finished.mutable_error()->set_reason("CHILD_CRASHED");
  finished.mutable_error()->set_signal(11);
  finished.mutable_error()->set_phase(std::string(100'000, 'p'));
  finished.mutable_error()->set_log_tail(std::string(100'000, 'x') + "the end");
  Finish("w", finished);
  const QuantJob job = Job("a");
  EXPECT_EQ(job.state(), QuantJob::FAILED);
  EXPECT_EQ(job.error().reason(), "CHILD_CRASHED");
  EXPECT_EQ(job.error().signal(), 11);
  EXPECT_EQ(job.error().phase().size(), 256) << "bounded, as all that a worker says";
  EXPECT_EQ(job.error().log_tail().size(), 16 << 10);
  EXPECT_THAT(job.error().log_tail(), testing::EndsWith("the end"));
}

TEST_F(LeaseTest, LiveLeasesGetAFullPeriodAfterARestart) {
  Start("a", "w");
  clock_.Advance(100 * kLease);
  Restart();
  ASSERT_OK(scheduler_->ExtendLeases());
  clock_.Advance(kLease - kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
  EXPECT_THAT(Fences(Heartbeat("w", "a", 1).stale()), IsEmpty());
  LetExpire();
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
}

TEST_F(LeaseTest, ProgressNeverFallsAndIsMadeSane) {
  Start("a", "w");
  struct Row {
    double said;
    double shown;
  };
  for (const Row& row : {Row{0.25, 0.25}, {0.5, 0.5}, {0.1, 0.5}, {NAN, 0.5}, {-1, 0.5}, {7, 1}}) {
    v1::SynchronizeRequest request = Request("w");
    v1::RunningJob* running = request.add_running();
    running->set_job("a");
    running->set_fence(1);
    running->mutable_progress()->set_fraction(row.said);
    running->mutable_progress()->set_eta_seconds(row.said);
    Answer(request);
    EXPECT_EQ(Job("a").progress().fraction(), row.shown) << row.said;
    EXPECT_GE(Job("a").progress().eta_seconds(), 0) << row.said;
  }
}

}  // namespace
}  // namespace quantd
