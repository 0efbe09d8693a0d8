// Checkpoints on their way: from the child to the server while it runs, and back to the next attempt.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/worker/worker_fixture.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::Pair;

constexpr char kJob[] = "j1";
const char kWaitForGo[] = "\nwhile [ ! -e $NOTES/go ]; do sleep 0.01; done\n";

class CheckpointTest : public WorkerTest {
 protected:
  void Go() { ASSERT_OK(WriteFileDurably(RealFileSystem(), JoinPath(folder_, "go"), "")); }
  bool Committed(int block) {
    return server_.WaitFor([&] {
      const std::vector<int> blocks = server_.committed_blocks(kJob);
      return !blocks.empty() && blocks.back() == block;
    });
  }
  int Uploads(const std::string& path) const {
    const std::vector<std::string> order = server_.upload_order();
    return static_cast<int>(std::count(order.begin(), order.end(), path));
  }
};

TEST_F(CheckpointTest, IsWithTheServerWhileTheChildRunsOn) {
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker("commit 1\nsleep 1000");
  ASSERT_TRUE(Committed(1));
  EXPECT_THAT(server_.checkpoint(kJob),
              ElementsAre(Pair("block-1", "block 1\n"), Pair("checkpoint.json", "{\"block\":1}\n"),
                          Pair("state-1", "state 1\n")));
}

TEST_F(CheckpointTest, UnchangedFilesAreSentOnce) {
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(absl::StrCat("commit 1", kWaitForGo, "commit 2\nsleep 1000"));
  ASSERT_TRUE(Committed(1));
  Go();
  ASSERT_TRUE(Committed(2));
  EXPECT_EQ(Uploads("block-1"), 1);
  EXPECT_EQ(Uploads("block-2"), 1);
  EXPECT_EQ(Uploads("checkpoint.json"), 2);
}

// Nine commits while the first one is still being sent: the child is not held up, and only the newest of the others is
// sent.
TEST_F(CheckpointTest, TheNewestWinsAndTheChildIsNeverDelayed) {
  server_.SlowUploads(absl::Milliseconds(400));
  server_.Assign(MakeAssignment(kJob, 1, 20'000));
  StartWorker("for B in 1 2 3 4 5 6 7 8 9; do commit $B; done\n: > $NOTES/done\nsleep 1000");
  ASSERT_TRUE(server_.WaitFor([&] { return RealFileSystem().Exists(JoinPath(folder_, "done")); }));
  EXPECT_THAT(server_.committed_blocks(kJob), testing::SizeIs(testing::Le(1)))
      << "three uploads of 0.4 s each are not over when the child is";
  server_.SlowUploads(absl::ZeroDuration());
  ASSERT_TRUE(Committed(9));
  EXPECT_THAT(server_.committed_blocks(kJob), testing::SizeIs(testing::Le(3))) << "nine were committed by the child";
}

TEST_F(CheckpointTest, AReplacedCheckpointIsNotMixedUpWithItsSuccessor) {
  server_.Assign(MakeAssignment(kJob, 1));
  // The line of block 1 comes when block 2 has replaced it.
  StartWorker(
      "commit 1 3> $NOTES/line\ncommit 2 3> $NOTES/second\ncat $NOTES/line >&3\ncat $NOTES/second >&3\nsleep 1000");
  ASSERT_TRUE(Committed(2));
  EXPECT_THAT(server_.committed_blocks(kJob), ElementsAre(2));
}

TEST_F(CheckpointTest, ALinkInThePlaceOfAFileIsNotFollowed) {
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(
      "commit 1 3> $NOTES/line\nrm $CHECKPOINT/block-1\nln -s /etc/passwd $CHECKPOINT/block-1\ncat $NOTES/line >&3\n"
      "commit 2 3> $NOTES/second\nsay quantize 0.5\nsleep 1000");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  EXPECT_TRUE(server_.upload_order().empty());
}

TEST_F(CheckpointTest, ABrokenLineDelaysItOnly) {
  server_.RefuseUploads(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the line broke"));
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker("commit 1\nsleep 1000");
  ASSERT_TRUE(server_.WaitFor([&] { return server_.upload_offsets().size() >= 2; }));
  server_.RefuseUploads(grpc::Status::OK);
  EXPECT_TRUE(Committed(1));
}

TEST_F(CheckpointTest, OneThatTheServerRefusesDoesNotHarmTheJob) {
  server_.RefuseUploads(RichStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "DISK_FULL", "no space"));
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(absl::StrCat("commit 1", kWaitForGo, kSuccess));
  ASSERT_TRUE(server_.WaitFor([&] { return !server_.upload_offsets().empty(); }));
  server_.RefuseUploads(grpc::Status::OK);
  Go();
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
}

TEST_F(CheckpointTest, ACrashedChildsNewestIsSentBeforeTheCrashIsTold) {
  server_.SlowUploads(absl::Milliseconds(100));
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker("commit 1\ncommit 2\ncommit 3\nkill -SEGV $$");
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_CRASHED);
  ASSERT_FALSE(server_.committed_blocks(kJob).empty());
  EXPECT_EQ(server_.committed_blocks(kJob).back(), 3);
}

TEST_F(CheckpointTest, DrainKeepsWhatTheChildCommitsWhenItIsToldToStop) {
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker("trap 'commit 2; exit 130' TERM\ncommit 1\nsay quantize 0.5\nwhile :; do sleep 0.02; done");
  ASSERT_TRUE(Committed(1));
  StopWorker();
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_RETURNED);
  EXPECT_EQ(server_.committed_blocks(kJob).back(), 2);
  EXPECT_TRUE(ScratchNames().empty());
  EXPECT_OK(end_);
}

// An artifact that is being uploaded when the drain begins is worth the rest of the grace.
TEST_F(CheckpointTest, DrainFinishesAnUploadThatIsUnderWay) {
  server_.SlowUploads(absl::Milliseconds(100));
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(kSuccess);
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "publish"; });
  StopWorker();
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
}

TEST_F(CheckpointTest, DrainEndsInTimeThoughNothingCanBeSent) {
  options_.runner.drain_grace = absl::Milliseconds(600);
  server_.RefuseUploads(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the line broke"));
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker("trap '' TERM\ncommit 1\nsay quantize 0.5\nwhile :; do sleep 0.02; done");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  const absl::Time begin = absl::Now();
  StopWorker();
  EXPECT_LE(absl::Now() - begin, options_.runner.drain_grace + options_.drain_limit);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_RETURNED);
}

// What the next attempt does with it: notes what it was given.
const char kTakesCheckpoint[] =
    "ls $CHECKPOINT > $NOTES/given 2> $NOTES/none\ncat $CHECKPOINT/state-4 > $NOTES/state 2> $NOTES/none\n";

class ResumeTest : public CheckpointTest {
 protected:
  v1::Assignment Continued(int64_t fence) {
    v1::Assignment assignment = MakeAssignment(kJob, fence);
    *assignment.mutable_checkpoint() = server_.KeepCheckpoint(kJob, files_);
    assignment.mutable_checkpoint()->mutable_summary()->set_block(4);
    return assignment;
  }
  const std::map<std::string, std::string> files_ = {
      {"checkpoint.json", "{}"}, {"state-4", std::string(3'000'000, 's')}, {"empty", ""}};
};

TEST_F(ResumeTest, TheNextAttemptFindsTheFilesOfTheLast) {
  server_.Assign(Continued(2));
  StartWorker(absl::StrCat(kTakesCheckpoint, "echo '{\"resumed\":{\"block\":4}}' >&3\n", kSuccess));
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED) << result.DebugString();
  EXPECT_EQ(result.actuals().resumed_from_block(), 4);
  EXPECT_TRUE(result.report().warnings().empty());
  EXPECT_EQ(ReadNote("given"), "checkpoint.json\nempty\nstate-4");
  EXPECT_EQ(ReadNote("state"), files_.at("state-4"));
}

TEST_F(ResumeTest, ABrokenLineIsTakenUpWhereItBroke) {
  server_.BreakDownloads(2);
  server_.Assign(Continued(2));
  StartWorker(absl::StrCat(kTakesCheckpoint, kSuccess));
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
  EXPECT_EQ(ReadNote("state"), files_.at("state-4"));
}

TEST_F(ResumeTest, ATamperedOneIsNotUsedAndTheJobSaysSo) {
  server_.Assign(Continued(2));
  server_.TamperWithCheckpoint(kJob, "state-4");
  StartWorker(absl::StrCat(kTakesCheckpoint, kSuccess));
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED) << "began anew";
  EXPECT_EQ(ReadNote("given"), "") << "nothing of it reaches the child";
  ASSERT_EQ(result.report().warnings_size(), 1);
  EXPECT_THAT(result.report().warnings(0), testing::HasSubstr("began anew: state-4"));
  EXPECT_EQ(result.actuals().resumed_from_block(), 0);
}

TEST_F(ResumeTest, ANameThatLeadsOutOfTheFolderIsNotUsed) {
  v1::Assignment assignment = Continued(2);
  assignment.mutable_checkpoint()->mutable_files(0)->set_path("../job.json");
  server_.Assign(assignment);
  StartWorker(absl::StrCat(kTakesCheckpoint, kSuccess));
  EXPECT_EQ(server_.WaitForResult(kJob).report().warnings_size(), 1);
  EXPECT_EQ(ReadNote("given"), "");
}

TEST_F(ResumeTest, TheChildsRefusalIsOnTheJob) {
  server_.Assign(Continued(2));
  StartWorker(absl::StrCat("echo '{\"checkpoint_refused\":{\"message\":\"another build\"}}' >&3\n", kSuccess));
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  ASSERT_EQ(result.report().warnings_size(), 1);
  EXPECT_THAT(result.report().warnings(0), testing::HasSubstr("another build"));
}

}  // namespace
}  // namespace quantd
