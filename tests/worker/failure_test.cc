// What a worker makes of children and hosts that fail: which failures may be tried again, and when it stops trying.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <new>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/kernel_file.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"
#include "tests/worker/worker_fixture.h"
#include "worker/agent/host.h"
#include "worker/agent/quarantine.h"

namespace quantd {
namespace {

constexpr char kJob[] = "j1";

TEST_F(WorkerTest, ARunDeadlineEndsTheJobForGood) {
  v1::Assignment assignment = MakeAssignment(kJob, 1);
  assignment.set_run_timeout_ms(300);
  server_.Assign(assignment);
  StartWorker("echo $$ > $NOTES/child\nsay quantize 0.1\nsleep 1000");
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_FAILED);
  EXPECT_EQ(result.error().reason(), "RUN_DEADLINE");
  EXPECT_THAT(result.error().message(), testing::HasSubstr("run_timeout_ms = 300"));
  EXPECT_EQ(result.error().phase(), "quantize");
  EXPECT_FALSE(IsAlive(ReadNote("child")));
}

TEST_F(WorkerTest, ARunDeadlineCoversTheUpload) {
  server_.RefuseUploads(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the line broke"));
  v1::Assignment assignment = MakeAssignment(kJob, 1);
  assignment.set_run_timeout_ms(1000);
  server_.Assign(assignment);
  StartWorker(kSuccess);
  EXPECT_EQ(server_.WaitForResult(kJob).error().reason(), "RUN_DEADLINE");
}

TEST_F(WorkerTest, AJobThatNeedsMoreDiskThanThereIsIsNotBegun) {
  v1::Assignment assignment = MakeAssignment(kJob, 1);
  assignment.mutable_estimate()->set_disk_bytes(int64_t{1} << 60);
  server_.Assign(assignment);
  StartWorker(": > $NOTES/begun");
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_CRASHED) << "another worker may have the space";
  EXPECT_EQ(result.error().reason(), "DISK_FULL");
  EXPECT_THAT(result.error().message(), testing::HasSubstr("1152921504606846976"));
  EXPECT_FALSE(RealFileSystem().Exists(JoinPath(folder_, "begun")));
  StopWorker();
  EXPECT_TRUE(ScratchNames().empty());
}

TEST_F(WorkerTest, AHugeLogKeepsItsEndAndNoMore) {
  server_.Assign(MakeAssignment(kJob, 1, 20'000));
  StartWorker("head -c 300000000 /dev/zero | tr '\\0' 'x' >&2\necho >&2\necho 'the end' >&2\nexit 9");
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.error().exit_code(), 9);
  EXPECT_LE(result.error().log_tail().size(), size_t{16} << 10);
  EXPECT_THAT(result.error().log_tail(), testing::EndsWith("the end\n"));
}

TEST_F(WorkerTest, SaysWhatTheJobTakes) {
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(absl::StrCat("X=$(head -c 30000000 /dev/zero | tr '\\0' 'x')\nsay quantize 0.1\n",
                           "while [ ! -e $NOTES/go ]; do sleep 0.02; done\n", kSuccess));
  ASSERT_TRUE(server_.WaitFor([&] {
    const auto requests = server_.requests();
    return !requests.empty() && requests.back().running_size() == 1 &&
           requests.back().running(0).memory_bytes() > 30'000'000;
  }));
  ASSERT_OK(WriteFileDurably(RealFileSystem(), JoinPath(folder_, "go"), ""));
  const v1::JobActuals actuals = server_.WaitForResult(kJob).actuals();
  EXPECT_GT(actuals.run_seconds(), 0.5) << "memory is looked at every half second";
  EXPECT_GT(actuals.peak_memory_bytes(), 30'000'000);
  EXPECT_GE(actuals.disk_bytes(), 3'000'000);
  EXPECT_LT(actuals.disk_bytes(), 6'000'000);
}

// Crashes of different jobs look like the host's fault: no more work for a while, then again.
TEST_F(WorkerTest, AWorkerOnWhichEveryJobCrashesQuarantinesItself) {
  options_.quarantine = {.crashed_jobs = 3, .first_pause = absl::Milliseconds(700), .longest_pause = absl::Seconds(10)};
  for (const char* job : {"a", "b", "c"}) {
    server_.Assign(MakeAssignment(job, 1));
    if (!thread_.joinable()) StartWorker(absl::StrCat("[ -e $NOTES/repaired ] || kill -SEGV $$\n", kSuccess));
    EXPECT_EQ(server_.WaitForResult(job).outcome(), v1::FinishedJob::OUTCOME_CRASHED);
  }
  ASSERT_TRUE(server_.WaitFor([&] { return server_.requests().back().slots() == 0; }));
  EXPECT_THAT(server_.requests().back().unfit(),
              testing::AllOf(testing::HasSubstr("3 different jobs crashed"), testing::HasSubstr("SIGSEGV")));
  server_.Assign(MakeAssignment("d", 1));
  EXPECT_EQ(server_.WaitForResult("d").outcome(), v1::FinishedJob::OUTCOME_RETURNED) << "not charged";
  ASSERT_OK(WriteFileDurably(RealFileSystem(), JoinPath(folder_, "repaired"), ""));
  ASSERT_TRUE(server_.WaitFor([&] { return server_.requests().back().slots() == 1; }));
  EXPECT_EQ(server_.requests().back().unfit(), "");
  server_.Assign(MakeAssignment("e", 1));
  EXPECT_EQ(server_.WaitForResult("e").outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
}

v1::FinishedJob Ended(const std::string& job, v1::FinishedJob::Outcome outcome) {
  v1::FinishedJob finished;
  finished.set_job(job);
  finished.set_outcome(outcome);
  return finished;
}

TEST(Quarantine, OneJobThatCrashesAgainAndAgainIsThatJobsFault) {
  Quarantine quarantine({.crashed_jobs = 3});
  const Quarantine::TimePoint now;
  for (int i = 0; i < 20; ++i) quarantine.Record(Ended("poison", v1::FinishedJob::OUTCOME_CRASHED), now);
  EXPECT_EQ(quarantine.Left(now), absl::ZeroDuration());
}

TEST(Quarantine, GrowsUntilAJobEndsWell) {
  Quarantine quarantine({.crashed_jobs = 2, .first_pause = absl::Seconds(1), .longest_pause = absl::Seconds(3)});
  const Quarantine::TimePoint now;
  const auto crash = [&](const char* job) { quarantine.Record(Ended(job, v1::FinishedJob::OUTCOME_CRASHED), now); };
  crash("a");
  EXPECT_EQ(quarantine.Left(now), absl::ZeroDuration());
  for (const int seconds : {1, 2, 3, 3}) {
    crash("b");
    EXPECT_EQ(quarantine.Left(now), absl::Seconds(seconds));
  }
  for (const auto good : {v1::FinishedJob::OUTCOME_SUCCEEDED, v1::FinishedJob::OUTCOME_FAILED}) {
    quarantine.Record(Ended("c", good), now);
    crash("a");
    crash("b");
    EXPECT_EQ(quarantine.Left(now), absl::Seconds(1)) << "from the start";
  }
}

TEST(OutOfMemoryKills, AreReadFromTheWorkersOwnGroup) {
  FileSystem& files = RealFileSystem();
  const std::string folder = MakeTempDir();
  const auto write = [&](const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder, name);
    ASSERT_OK(files.CreateDirectories(DirectoryName(path)));
    ASSERT_OK(WriteFileDurably(files, path, text));
  };
  write("unified", "0::/a\n");
  write("a/memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n");
  EXPECT_EQ(OutOfMemoryKills(JoinPath(folder, "unified"), folder), 2);
  write("inside", "0::/of/the/host\n");
  write("memory.events", "oom 1\noom_kill 1\n");
  EXPECT_EQ(OutOfMemoryKills(JoinPath(folder, "inside"), folder), 1);
  write("first", "7:cpu:/b\n6:memory:/b\n");
  write("memory/b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
  EXPECT_EQ(OutOfMemoryKills(JoinPath(folder, "first"), folder), 5);
  EXPECT_EQ(OutOfMemoryKills(JoinPath(folder, "absent"), folder), std::nullopt);
}

TEST(KernelFile, IsReadAlthoughItsSizeIsZero) {
  ASSERT_OK_AND_ASSIGN(const std::string status, ReadKernelFile("/proc/self/status"));
  EXPECT_THAT(status, testing::HasSubstr("VmRSS"));
  EXPECT_THAT(ReadKernelFile("/proc/self/absent").status(), FailsWith("FILE_NOT_FOUND", "absent"));
}

TEST(ScratchFolder, RemovesWhatDeadWorkersLeftAndNothingOfTheLiving) {
  FileSystem& files = RealFileSystem();
  const std::string root = MakeTempDir();
  { ASSERT_OK(ScratchFolder::Open(files, root, "dead").status()); }
  ASSERT_OK_AND_ASSIGN(const ScratchFolder living, ScratchFolder::Open(files, root, "living"));
  for (const char* folder : {"dead/job-1", "living/job-2", "elses/job-3"}) {
    ASSERT_OK(files.CreateDirectories(JoinPath(root, folder)));
  }
  ASSERT_OK(ScratchFolder::Open(files, root, "new").status());
  EXPECT_FALSE(files.Exists(JoinPath(root, "dead/job-1")));
  EXPECT_TRUE(files.Exists(JoinPath(root, "living/job-2")));
  EXPECT_TRUE(files.Exists(JoinPath(root, "elses/job-3"))) << "no worker's folder: it has no lock";
}

}  // namespace
}  // namespace quantd
