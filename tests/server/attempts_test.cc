// What goes wrong and is tried again, for how long, and where: crashes, quarantine, deadlines, clocks that jump.
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/smooth_clock.h"
#include "server/scheduler/transitions.h"
#include "server/store/sqlite_database.h"
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

class AttemptsTest : public SchedulerTest {
 protected:
  static FinishedJob Crashed(const std::string& id, int64_t fence) {
    FinishedJob finished = Finished(id, fence, FinishedJob::OUTCOME_CRASHED);
    finished.mutable_error()->set_reason("CHILD_CRASHED");
    finished.mutable_error()->set_message("the child died");
    finished.mutable_error()->set_signal(11);
    finished.mutable_error()->set_exit_code(3);
    finished.mutable_error()->set_phase("quantize");
    finished.mutable_error()->set_log_tail("the last line");
    return finished;
  }
  // Runs on `worker` and crashes there.
  void Crash(const std::string& id, const std::string& worker) {
    v1::SynchronizeRequest request = Request(worker);
    request.set_slots(1);
    const int64_t fence = Record(id).fence + 1;
    ASSERT_THAT(Assigned(request), ElementsAre(absl::StrCat(id, ":", fence)));
    Finish(worker, Crashed(id, fence));
  }
  void Succeed(const std::string& id, const std::string& worker) {
    ASSERT_THAT(Assigned(Request(worker)), ElementsAre(absl::StrCat(id, ":1")));
    Finish(worker, Uploaded(id, 1));
    ASSERT_EQ(Job(id).state(), QuantJob::SUCCEEDED);
  }
  NewJob Timed(const std::string& id, int64_t queue_ms, int64_t run_ms) {
    NewJob job = NewJobOf(id);
    job.spec.set_queue_timeout_ms(queue_ms);
    job.spec.set_run_timeout_ms(run_ms);
    return job;
  }
};

struct PauseRow {
  int attempt;
  Loss loss;
  absl::Duration least;
};

// The table of docs/job-states.md; jitter adds at most a fifth.
TEST_F(AttemptsTest, PausesGrowAndAreSpread) {
  for (const PauseRow& row : {
           PauseRow{1, Loss::kCrash, absl::Seconds(5)},
           {2, Loss::kCrash, absl::Seconds(30)},
           {3, Loss::kCrash, absl::Minutes(2)},
           {9, Loss::kCrash, absl::Minutes(2)},
           {1, Loss::kLease, absl::ZeroDuration()},
           {2, Loss::kLease, absl::Seconds(5)},
           {3, Loss::kLease, absl::Seconds(30)},
       }) {
    std::set<absl::Duration> pauses;
    for (int i = 0; i < 100; ++i) {
      JobRecord record;
      record.id = absl::StrCat("job-", i);
      record.fence = row.attempt;
      record.job.set_attempt(row.attempt);
      const absl::Duration pause = RequeueDelay(RequeuePolicy(), record, row.loss);
      EXPECT_GE(pause, row.least) << row.attempt;
      EXPECT_LE(pause, row.least * 6 / 5) << row.attempt;
      EXPECT_EQ(pause, RequeueDelay(RequeuePolicy(), record, row.loss)) << "the same on every server";
      pauses.insert(pause);
    }
    EXPECT_GE(pauses.size(), row.least == absl::ZeroDuration() ? 1u : 50u) << "jobs lost together come back apart";
  }
}

TEST_F(AttemptsTest, CrashedJobIsTriedAgainAfterItsPauseAndKeepsWhy) {
  Submit("a");
  Crash("a", "w");
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
  EXPECT_EQ(Job("a").last_failure().reason(), "CHILD_CRASHED");
  EXPECT_EQ(Job("a").last_failure().signal(), 11);
  EXPECT_FALSE(Job("a").has_error());
  clock_.Advance(absl::Seconds(5) - kMoment);
  EXPECT_THAT(Assigned(Request("other")), IsEmpty());
  clock_.Advance(absl::Seconds(1) + kMoment);
  EXPECT_THAT(Assigned(Request("other")), ElementsAre("a:2"));
  Finish("other", Uploaded("a", 2));
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
}

TEST_F(AttemptsTest, ThirdCrashFailsTheJobWithEverythingThatIsKnown) {
  Submit("a");
  for (int attempt = 1; attempt <= kDefaultMaxAttempts; ++attempt) {
    clock_.Advance(kLongestPause);
    Crash("a", "w");
  }
  const QuantJob job = Job("a");
  EXPECT_EQ(job.state(), QuantJob::FAILED);
  EXPECT_EQ(job.error().reason(), "CHILD_CRASHED");
  EXPECT_EQ(job.error().message(), "the child died, in attempt 3 of 3");
  EXPECT_EQ(job.error().signal(), 11);
  EXPECT_EQ(job.error().exit_code(), 3);
  EXPECT_EQ(job.error().phase(), "quantize");
  EXPECT_EQ(job.error().log_tail(), "the last line");
}

TEST_F(AttemptsTest, TheSpecSaysHowManyAttempts) {
  for (const int most : {1, 5}) {
    const std::string id = absl::StrCat("job-", most);
    NewJob job = NewJobOf(id);
    job.spec.set_max_attempts(most);
    ASSERT_OK(scheduler_->Submit(job));
    for (int attempt = 1; attempt <= most; ++attempt) {
      EXPECT_EQ(Job(id).state(), QuantJob::QUEUED) << attempt;
      clock_.Advance(kLongestPause);
      Crash(id, "w");
    }
    EXPECT_EQ(Job(id).state(), QuantJob::FAILED);
    EXPECT_THAT(Job(id).error().message(), HasSubstr(absl::StrCat("in attempt ", most, " of ", most)));
  }
}

TEST_F(AttemptsTest, UserErrorsAreNeverTriedAgain) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  Finish("w", Finished("a", 1, FinishedJob::OUTCOME_FAILED));
  EXPECT_EQ(Job("a").state(), QuantJob::FAILED);
  EXPECT_EQ(Job("a").attempt(), 1);
}

TEST_F(AttemptsTest, AnotherWorkerHasPrecedenceAfterACrash) {
  ASSERT_THAT(Assigned(Request("other")), IsEmpty());  // it is connected
  Submit("a");
  Crash("a", "w");
  clock_.Advance(absl::Seconds(6));
  EXPECT_THAT(Assigned(Request("w")), IsEmpty()) << "another one could take it";
  EXPECT_THAT(Assigned(Request("other")), ElementsAre("a:2"));
}

TEST_F(AttemptsTest, PrecedenceOfOtherWorkersEnds) {
  ASSERT_THAT(Assigned(Request("other")), IsEmpty());
  Submit("a");
  Crash("a", "w");
  clock_.Advance(kLongestPause);
  v1::SynchronizeRequest busy = Request("other");
  busy.set_draining(true);
  ASSERT_THAT(Assigned(busy), IsEmpty());
  EXPECT_THAT(Assigned(Request("w")), ElementsAre("a:2"));
}

TEST_F(AttemptsTest, WithoutAnotherWorkerTheSameOneTakesItAgain) {
  Submit("a");
  Crash("a", "w");
  clock_.Advance(absl::Seconds(6));
  EXPECT_THAT(Assigned(Request("w")), ElementsAre("a:2"));
}

TEST_F(AttemptsTest, WorkerWhoseChildrenDieOnJobAfterJobGetsNoneForAWhile) {
  for (const char* id : {"a", "b", "c", "d"}) Submit(id);
  for (const char* id : {"a", "b", "c"}) Crash(id, "broken");
  EXPECT_THAT(Assigned(Request("broken")), IsEmpty());
  EXPECT_EQ(scheduler_->workers().Summarize().quarantined_slots, 2);
  EXPECT_EQ(scheduler_->workers().Summarize().idle_slots, 0);
  v1::SynchronizeRequest healthy = Request("healthy");
  healthy.set_slots(1);
  EXPECT_THAT(Assigned(healthy), ElementsAre("d:1")) << "others go on";

  clock_.Advance(SchedulerOptions().quarantine);
  v1::SynchronizeRequest back = Request("broken");
  ASSERT_EQ(Assigned(back).size(), 1u) << "one job on trial, though it has two slots";
}

TEST_F(AttemptsTest, QuarantineGrowsUntilAJobSucceeds) {
  const absl::Duration first = SchedulerOptions().quarantine;
  for (int i = 0; i < 10; ++i) Submit(absl::StrCat("j", i));
  for (int i = 0; i < 3; ++i) Crash(absl::StrCat("j", i), "w");
  clock_.Advance(first - absl::Seconds(20));
  EXPECT_THAT(Assigned(Request("w")), IsEmpty());
  // Jobs that crashed before come back too; the next one in line is whichever waited longest.
  const auto crash_next = [&] {
    v1::SynchronizeRequest request = Request("w");
    const v1::SynchronizeResponse answer = Answer(request);
    ASSERT_EQ(answer.assignments_size(), 1);
    Finish("w", Crashed(answer.assignments(0).job(), answer.assignments(0).fence()));
  };
  clock_.Advance(absl::Seconds(20));
  crash_next();
  clock_.Advance(2 * first - kMoment);
  EXPECT_THAT(Assigned(Request("w")), IsEmpty()) << "twice as long";
  clock_.Advance(kMoment);
  const v1::SynchronizeResponse answer = Answer(Request("w"));
  ASSERT_EQ(answer.assignments_size(), 1);
  Finish("w", Uploaded(answer.assignments(0).job(), answer.assignments(0).fence()));
  EXPECT_EQ(Assigned(Request("w")).size(), 2u) << "all its slots again";
}

TEST_F(AttemptsTest, OnePoisonJobQuarantinesNobody) {
  Submit("poison");
  for (int i = 0; i < kDefaultMaxAttempts; ++i) {
    clock_.Advance(kLongestPause);
    Crash("poison", "w");
  }
  Submit("good");
  EXPECT_THAT(Assigned(Request("w")), ElementsAre("good:1"));
}

TEST_F(AttemptsTest, JobThatWaitsTooLongFails) {
  ASSERT_OK(scheduler_->Submit(Timed("a", 1000, 0)));
  Answer([] {
    v1::SynchronizeRequest busy = Request("w");
    busy.set_slots(0);
    return busy;
  }());
  clock_.Advance(absl::Seconds(1) - kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
  clock_.Advance(kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::FAILED);
  EXPECT_EQ(Job("a").error().reason(), "QUEUE_DEADLINE");
  EXPECT_THAT(Job("a").error().message(), HasSubstr("queue_timeout_ms = 1000"));
  EXPECT_THAT(Assigned(Request("w")), IsEmpty());
}

TEST_F(AttemptsTest, JobThatNobodyCouldRunFailsSayingWhatIsMissing) {
  NewJob job = Timed("a", 1000, 0);
  job.spec.set_device("cuda");
  ASSERT_OK(scheduler_->Submit(job));
  Answer(Request("w"));
  clock_.Advance(absl::Seconds(1));
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").error().reason(), "UNSCHEDULABLE");
  EXPECT_THAT(Job("a").error().message(), HasSubstr("no registered worker has device cuda"));
}

TEST_F(AttemptsTest, QueueDeadlineDoesNotHoldWhileTheJobRunsAndBeginsAnewWhenItComesBack) {
  ASSERT_OK(scheduler_->Submit(Timed("a", 1000, 0)));
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  clock_.Advance(absl::Seconds(5));
  ASSERT_OK(scheduler_->Sweep());
  ASSERT_EQ(Job("a").state(), QuantJob::RUNNING);
  Finish("w", Finished("a", 1, FinishedJob::OUTCOME_RETURNED));
  clock_.Advance(absl::Seconds(1) - kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::QUEUED);
  clock_.Advance(kMoment);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::FAILED);
}

TEST_F(AttemptsTest, AttemptThatRunsTooLongFailsTheJobWhenItsWorkerDoesNot) {
  ASSERT_OK(scheduler_->Submit(Timed("a", 0, 60'000)));
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  const absl::Duration until = absl::Minutes(1) + kLease;
  for (absl::Duration passed; passed + kLease / 3 < until; passed += kLease / 3) {
    clock_.Advance(kLease / 3);
    EXPECT_THAT(Fences(Heartbeat("w", "a", 1).stale()), IsEmpty()) << passed;
    ASSERT_OK(scheduler_->Sweep());
  }
  EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
  clock_.Advance(kLease / 3);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::FAILED);
  EXPECT_EQ(Job("a").error().reason(), "RUN_DEADLINE");
  EXPECT_THAT(Fences(Heartbeat("w", "a", 1).stale()), ElementsAre("a:1")) << "its worker ends the child";
}

TEST_F(AttemptsTest, SweepTakesAnyNumberOfExpiredLeasesAmongHealthyOnes) {
  constexpr int kMany = 250;  // more than two pages
  for (int i = 0; i < kMany; ++i) Submit(absl::StrCat("dead", i));
  v1::SynchronizeRequest request = Request("dying");
  request.set_slots(kMany);
  ASSERT_EQ(Assigned(request).size(), static_cast<size_t>(kMany));
  clock_.Advance(kLease / 2);
  for (int i = 0; i < 20; ++i) Submit(absl::StrCat("live", i));
  request.set_worker_id("living");
  ASSERT_EQ(Assigned(request).size(), 20u);
  clock_.Advance(kLease / 2);
  ASSERT_OK(scheduler_->Sweep());
  ASSERT_OK_AND_ASSIGN(const auto counts, store_->CountByState());
  EXPECT_EQ(counts.at(QuantJob::QUEUED), kMany);
  EXPECT_EQ(counts.at(QuantJob::RUNNING), 20);
  EXPECT_EQ(scheduler_->last_sweep(), clock_.Now());
}

TEST_F(AttemptsTest, EstimateAndActualsAreKeptAndCompared) {
  NewJob job = NewJobOf("a");
  job.estimate.set_peak_memory_bytes(1000);
  job.estimate.set_disk_bytes(100);
  ASSERT_OK(scheduler_->Submit(job));
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  clock_.Advance(absl::Seconds(7));
  FinishedJob finished = Uploaded("a", 1);
  finished.mutable_actuals()->set_peak_memory_bytes(800);
  finished.mutable_actuals()->set_disk_bytes(-5);
  Finish("w", finished);
  EXPECT_EQ(Job("a").actuals().run_seconds(), 7) << "by the server's clock";
  EXPECT_EQ(Job("a").actuals().peak_memory_bytes(), 800);
  EXPECT_EQ(Job("a").actuals().disk_bytes(), 0) << "what makes no sense is not kept";
  const std::string text = metrics_.Text();
  EXPECT_THAT(text, HasSubstr("quantd_job_estimate_ratio_sum{what=\"memory\"} 0.8"));
  EXPECT_THAT(text, HasSubstr("quantd_job_estimate_ratio_count{what=\"disk\"} 0"));
}

// A wall clock that somebody sets neither ends leases nor keeps dead ones alive.
TEST(ClockJumps, ChangeNoLease) {
  for (const absl::Duration jump : {absl::Hours(24), -absl::Hours(24)}) {
    absl::Duration steady;
    FakeClock wall;
    SmoothClock clock(wall, [&] { return steady; });
    const auto pass = [&](absl::Duration duration) {
      steady += duration;
      wall.Advance(duration);
    };
    const std::string directory = MakeTempDir();
    ServiceMetrics metrics({"gptq"});
    ASSERT_OK_AND_ASSIGN(const auto store, OpenSqliteJobStore(directory, clock));
    ASSERT_OK_AND_ASSIGN(const auto artifacts, OpenDirectoryArtifactStore(RealFileSystem(), directory));
    Scheduler scheduler({.lease = absl::Seconds(15)}, {*store, *artifacts, clock, metrics});
    NewJob job;
    job.id = "a";
    job.create_time = clock.Now();
    ASSERT_OK(scheduler.Submit(job));
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    request.set_slots(1);
    ASSERT_OK(scheduler.Synchronize(request, [] { return false; }));
    const auto state = [&] { return store->Get("a")->job.state(); };

    wall.Advance(jump);
    pass(absl::Seconds(14));
    ASSERT_OK(scheduler.Sweep());
    EXPECT_EQ(state(), QuantJob::RUNNING) << jump;
    pass(absl::Seconds(2));
    ASSERT_OK(scheduler.Sweep());
    EXPECT_EQ(state(), QuantJob::QUEUED) << jump;
  }
}

}  // namespace
}  // namespace quantd
