// Who gets which job, and what workers and users hear about it.
#include "server/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/scheduler/transitions.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using v1::FinishedJob;
using v1::QuantJob;

TEST_F(SchedulerTest, JobsStartInTheOrderOfTheirSubmission) {
  for (const char* id : {"c", "a", "b"}) Submit(id);
  EXPECT_THAT(Assigned(Request("w")), ElementsAre("c:1", "a:1")) << "two slots";
  EXPECT_THAT(Assigned(Request("v")), ElementsAre("b:1"));
}

TEST_F(SchedulerTest, RequeuedJobKeepsItsPlaceInTheQueue) {
  Submit("old");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("old:1"));
  Submit("new");
  Finish("w", Finished("old", 1, FinishedJob::OUTCOME_RETURNED));
  EXPECT_THAT(Assigned(Request("v")), ElementsAre("old:2", "new:1"));
}

TEST_F(SchedulerTest, WorkerWithoutFreeSlotGetsNothing) {
  Submit("a");
  v1::SynchronizeRequest request = Request("w");
  request.set_slots(0);
  EXPECT_THAT(Assigned(request), IsEmpty());
  request.set_slots(1);
  EXPECT_THAT(Assigned(request), ElementsAre("a:1"));
  Submit("b");
  EXPECT_THAT(Fences(Heartbeat("w", "a", 1).stale()), IsEmpty());
  EXPECT_EQ(Job("b").state(), QuantJob::QUEUED);
}

TEST_F(SchedulerTest, NoJobGoesToTwoWorkers) {
  constexpr int kJobs = 40;
  constexpr int kWorkers = 4;
  for (int i = 0; i < kJobs; ++i) Submit(absl::StrCat("j", i));
  std::vector<std::vector<std::string>> taken(kWorkers);
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&, i] {
      v1::SynchronizeRequest request = Request(absl::StrCat("w", i));
      request.set_slots(kJobs);
      taken[static_cast<size_t>(i)] = Assigned(request);
    });
  }
  for (std::thread& worker : workers) worker.join();
  std::set<std::string> all;
  size_t count = 0;
  for (const auto& jobs : taken) {
    all.insert(jobs.begin(), jobs.end());
    count += jobs.size();
  }
  EXPECT_EQ(count, kJobs);
  EXPECT_EQ(all.size(), kJobs);
  for (int i = 0; i < kJobs; ++i) EXPECT_EQ(Record(absl::StrCat("j", i)).fence, 1);
}

TEST_F(SchedulerTest, AssignmentIsRepeatedUntilTheWorkerReportsIt) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  EXPECT_THAT(Assigned(Request("w")), ElementsAre("a:1")) << "the first reply may have been lost";
  EXPECT_EQ(Job("a").attempt(), 1);
  EXPECT_THAT(Heartbeat("w", "a", 1).assignments(), IsEmpty());
}

TEST_F(SchedulerTest, NewIncarnationOfAWorkerLosesTheJobsOfTheOldOne) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  v1::SynchronizeRequest restarted = Request("w");
  restarted.set_incarnation("second");
  EXPECT_THAT(Assigned(restarted), ElementsAre("a:2"));
  EXPECT_EQ(Job("a").attempt(), 2);
  const auto replaced = scheduler_->Synchronize(Request("w"), [] { return false; });
  EXPECT_THAT(replaced, FailsWith("WORKER_REPLACED", "--worker-id"));
}

TEST_F(SchedulerTest, CancelOfAQueuedJobIsImmediate) {
  Submit("a");
  ASSERT_OK_AND_ASSIGN(const JobRecord cancelled, scheduler_->Cancel("a"));
  EXPECT_EQ(cancelled.job.state(), QuantJob::CANCELLED);
  EXPECT_TRUE(cancelled.job.has_end_time());
  EXPECT_THAT(Assigned(Request("w")), IsEmpty());
}

TEST_F(SchedulerTest, CancelOfARunningJobEndsWithItsChild) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  ASSERT_OK_AND_ASSIGN(const JobRecord cancelling, scheduler_->Cancel("a"));
  EXPECT_EQ(cancelling.job.state(), QuantJob::CANCELLING);
  EXPECT_THAT(Fences(Heartbeat("w", "a", 1).cancel()), ElementsAre("a:1"));
  EXPECT_THAT(Fences(Heartbeat("w", "a", 1).cancel()), ElementsAre("a:1")) << "until the child has ended";
  Finish("w", Finished("a", 1, FinishedJob::OUTCOME_CANCELLED));
  EXPECT_EQ(Job("a").state(), QuantJob::CANCELLED);
}

// The first commit wins: whatever the worker says after the cancel, the job is cancelled and has no result.
TEST_F(SchedulerTest, CancelBeatsEveryLaterOutcome) {
  for (const FinishedJob::Outcome outcome : {FinishedJob::OUTCOME_SUCCEEDED, FinishedJob::OUTCOME_FAILED,
                                             FinishedJob::OUTCOME_CANCELLED, FinishedJob::OUTCOME_RETURNED}) {
    const std::string id = absl::StrCat("job-", static_cast<int>(outcome));
    Submit(id);
    ASSERT_THAT(Assigned(Request("w")), ElementsAre(id + ":1"));
    FinishedJob finished = Uploaded(id, 1);
    finished.set_outcome(outcome);
    ASSERT_OK(scheduler_->Cancel(id));
    EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), ElementsAre(id + ":1"));
    EXPECT_EQ(Job(id).state(), QuantJob::CANCELLED) << outcome;
    EXPECT_FALSE(Job(id).has_artifact()) << outcome;
    ASSERT_OK_AND_ASSIGN(const auto report, store_->Report(id));
    EXPECT_FALSE(report.has_value()) << outcome;
  }
}

TEST_F(SchedulerTest, CancelledJobOfADeadWorkerEndsWhenItsLeaseDoes) {
  Submit("a");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  ASSERT_OK(scheduler_->Cancel("a"));
  clock_.Advance(kLease);
  ASSERT_OK(scheduler_->Sweep());
  EXPECT_EQ(Job("a").state(), QuantJob::CANCELLED);
}

TEST_F(SchedulerTest, CancelOfATerminalJobChangesNothing) {
  Submit("a");
  ASSERT_OK(scheduler_->Cancel("a"));
  const std::string before = Job("a").SerializeAsString();
  clock_.Advance(kLease);
  ASSERT_OK_AND_ASSIGN(const JobRecord again, scheduler_->Cancel("a"));
  EXPECT_EQ(again.job.SerializeAsString(), before);
  EXPECT_THAT(scheduler_->Cancel("nobody"), FailsWith("JOB_NOT_FOUND", "nobody"));
}

TEST_F(SchedulerTest, DrainRefusesSubmissionsAndAssignsNothing) {
  Submit("running");
  ASSERT_THAT(Assigned(Request("w")), ElementsAre("running:1"));
  Submit("waiting");
  scheduler_->Drain();
  const NewJob job = NewJobOf("late");
  EXPECT_THAT(scheduler_->Admit(job.tenant), FailsWith("DRAINING", "same request_id"));
  EXPECT_OK(scheduler_->Submit(job)) << "it was admitted before";
  const v1::SynchronizeResponse answer = Heartbeat("w", "running", 1);
  EXPECT_TRUE(answer.server_draining());
  EXPECT_THAT(Assigned(Request("v")), IsEmpty());
  EXPECT_THAT(Fences(Finish("w", Uploaded("running", 1)).acknowledged()), ElementsAre("running:1"));
  EXPECT_EQ(Job("running").state(), QuantJob::SUCCEEDED) << "results are still taken";
  EXPECT_EQ(Job("waiting").state(), QuantJob::QUEUED);
}

TEST_F(SchedulerTest, DrainingWorkerGetsNoWork) {
  Submit("a");
  v1::SynchronizeRequest request = Request("w");
  request.set_draining(true);
  EXPECT_THAT(Assigned(request), IsEmpty());
}

TEST_F(SchedulerTest, WaitingCallIsWokenBySubmitCancelAndDrain) {
  v1::SynchronizeRequest idle = Request("w");
  idle.set_poll_ms(60'000);
  v1::SynchronizeResponse answer;
  const auto while_waiting = [&](const v1::SynchronizeRequest& request, const std::function<void()>& event) {
    clock_.Advance(kLease);  // its earlier calls do not count any more: it is connected once this one waits
    std::thread worker([&] { answer = Answer(request); });
    while (scheduler_->workers().Summarize().connected == 0) std::this_thread::yield();
    event();
    worker.join();
  };
  while_waiting(idle, [&] { Submit("a"); });
  ASSERT_EQ(answer.assignments_size(), 1);
  v1::SynchronizeRequest busy = idle;
  busy.set_slots(1);
  busy.add_running()->set_job("a");
  busy.mutable_running(0)->set_fence(1);
  while_waiting(busy, [&] { EXPECT_OK(scheduler_->Cancel("a")); });
  EXPECT_THAT(Fences(answer.cancel()), ElementsAre("a:1"));
  Finish("w", Finished("a", 1, FinishedJob::OUTCOME_CANCELLED));
  while_waiting(idle, [&] { scheduler_->Drain(); });
  EXPECT_TRUE(answer.server_draining());
}

TEST_F(SchedulerTest, JobForADeviceThatNobodyHasSaysSo) {
  Submit("gpu", "cuda");
  EXPECT_THAT(scheduler_->Conditions(Job("gpu")), ElementsAre("no worker is connected"));
  EXPECT_THAT(Assigned(Request("w")), IsEmpty());
  EXPECT_THAT(scheduler_->Conditions(Job("gpu")), ElementsAre("no registered worker has device cuda"));
  v1::SynchronizeRequest with_gpu = Request("v");
  with_gpu.mutable_capabilities()->add_devices("cuda");
  with_gpu.set_slots(0);
  Answer(with_gpu);
  EXPECT_THAT(scheduler_->Conditions(Job("gpu")), IsEmpty());
  clock_.Advance(kLease);
  EXPECT_THAT(scheduler_->Conditions(Job("gpu")), ElementsAre("no worker is connected")) << "they have gone silent";
  with_gpu.set_slots(1);
  EXPECT_THAT(Assigned(with_gpu), ElementsAre("gpu:1"));
  EXPECT_THAT(scheduler_->Conditions(Job("gpu")), IsEmpty()) << "it runs";
}

TEST_F(SchedulerTest, JobThatEachWorkerDeclinesSaysWhy) {
  Submit("a");
  v1::SynchronizeRequest broken = Request("broken");
  broken.set_slots(0);
  broken.set_unfit("3 jobs in a row crashed here");
  Answer(broken);
  v1::SynchronizeRequest leaving = Request("leaving");
  leaving.set_draining(true);
  Answer(leaving);
  EXPECT_THAT(
      scheduler_->Conditions(Job("a")),
      ElementsAre("no worker takes jobs for now; worker broken: 3 jobs in a row crashed here; worker leaving: it "
                  "is draining"));
  broken.set_unfit(std::string(4096, 'x'));
  Answer(broken);
  EXPECT_LT(scheduler_->Conditions(Job("a"))[0].size(), 700u) << "workers say what they like";
  broken.set_slots(1);
  broken.clear_unfit();
  broken.add_running()->set_job("another");
  Answer(broken);
  EXPECT_THAT(scheduler_->Conditions(Job("a")), IsEmpty()) << "it takes jobs, though it is busy";
}

TEST_F(SchedulerTest, WithOtherServersRemarksSpeakForThisOneAlone) {
  Scheduler one_of_several({.has_other_servers = true}, {*store_, *artifacts_, clock_, metrics_});
  NewJob job = NewJobOf("gpu");
  job.spec.set_device("cuda");
  job.spec.set_queue_timeout_ms(1000);
  ASSERT_OK(one_of_several.Submit(job));
  EXPECT_THAT(one_of_several.Conditions(Job("gpu")),
              ElementsAre(testing::StartsWith("no worker is connected (at this server; others")));
  clock_.Advance(absl::Seconds(2));
  ASSERT_OK(one_of_several.Sweep());
  EXPECT_EQ(Job("gpu").error().reason(), "QUEUE_DEADLINE") << "another server may have such a worker";
}

TEST_F(SchedulerTest, JobThatNoWorkerCanHoldSaysWhatIsMissing) {
  NewJob job = NewJobOf("large");
  job.estimate.set_peak_memory_bytes(100);
  job.estimate.set_disk_bytes(10);
  ASSERT_OK(scheduler_->Submit(job));
  const auto introduce = [&](const std::string& worker, int64_t memory_bytes, int64_t disk_bytes) {
    v1::SynchronizeRequest request = Request(worker);
    request.mutable_capabilities()->set_memory_bytes(memory_bytes);
    request.mutable_capabilities()->set_scratch_bytes(disk_bytes);
    EXPECT_THAT(Assigned(request), IsEmpty());
  };
  introduce("small", 60, 5);
  introduce("smaller", 50, 5);
  EXPECT_THAT(scheduler_->Conditions(Job("large")),
              ElementsAre("the job needs 100 bytes of memory, the largest registered worker has 60"));
  introduce("much-memory", 100, 5);
  EXPECT_THAT(scheduler_->Conditions(Job("large")),
              ElementsAre("the job needs 10 bytes of disk, the largest registered worker has 5"));
  introduce("much-disk", 60, 10);
  EXPECT_THAT(scheduler_->Conditions(Job("large")),
              ElementsAre("the job needs 100 bytes of memory and 10 bytes of disk, no registered worker has both"));
  v1::SynchronizeRequest fitting = Request("fitting");
  fitting.mutable_capabilities()->set_memory_bytes(100);
  fitting.mutable_capabilities()->set_scratch_bytes(10);
  EXPECT_THAT(Assigned(fitting), ElementsAre("large:1"));
}

TEST_F(SchedulerTest, JobsShareAWorkerWhileTheyFit) {
  const auto submit = [&](const std::string& id, int64_t memory_bytes) {
    NewJob job = NewJobOf(id);
    job.estimate.set_peak_memory_bytes(memory_bytes);
    ASSERT_OK(scheduler_->Submit(job));
  };
  submit("first", 60);
  submit("second", 50);
  submit("third", 40);
  v1::SynchronizeRequest request = Request("w");
  request.set_slots(3);
  request.mutable_capabilities()->set_memory_bytes(100);
  EXPECT_THAT(Assigned(request), ElementsAre("first:1", "third:1")) << "the second is passed over";
  v1::RunningJob* running = request.add_running();
  running->set_job("third");
  running->set_fence(1);
  *request.add_finished() = Finished("first", 1, FinishedJob::OUTCOME_FAILED);
  EXPECT_THAT(Assigned(request), ElementsAre("second:1"));
}

TEST_F(SchedulerTest, AssignmentCarriesWhatTheAttemptNeeds) {
  NewJob job = NewJobOf("a");
  job.spec.set_run_timeout_ms(5000);
  job.estimate.set_disk_bytes(77);
  ASSERT_OK(scheduler_->Submit(job));
  const v1::SynchronizeResponse answer = Answer(Request("w"));
  ASSERT_EQ(answer.assignments_size(), 1);
  EXPECT_EQ(answer.assignments(0).run_timeout_ms(), 5000);
  EXPECT_EQ(answer.assignments(0).estimate().disk_bytes(), 77);
  EXPECT_EQ(Job("a").estimate().disk_bytes(), 77);
}

}  // namespace
}  // namespace quantd
