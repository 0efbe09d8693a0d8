// Checkpoints over gRPC: uploaded, committed under the fence, handed to the next attempt, removed with the job.
#include <gtest/gtest.h>

#include <fstream>

#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "tests/server/worker_calls.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::IsEmpty;

class CheckpointRpcTest : public WorkerCallsTest {
 protected:
  std::vector<std::string> StoredDigests(const std::string& id) {
    const auto names = RealFileSystem().ListDirectory(config_.data_dir + "/checkpoints/" + id);
    return names.ok() ? *names : std::vector<std::string>();
  }

  const Files first_ = {{"checkpoint.json", "{1}"}, {"block-1", "one"}, {"state-1", "after one"}};
  const Files second_ = {{"checkpoint.json", "{2}"}, {"block-1", "one"}, {"block-2", "two"}, {"state-2", "after two"}};
};

TEST_F(CheckpointRpcTest, TheNextAttemptGetsWhatTheLastOneCommitted) {
  const std::string name = Submitted();
  const v1::Assignment first = TakeJob();
  EXPECT_FALSE(first.has_checkpoint());
  ASSERT_OK(UploadAndCommit(first, first_, 1));
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob job, Get(name));
  EXPECT_EQ(job.checkpoint().block(), 1);
  EXPECT_EQ(job.checkpoint().attempt(), 1);
  EXPECT_EQ(job.checkpoint().size_bytes(), 3 + 3 + 9);
  EXPECT_TRUE(job.checkpoint().has_commit_time());

  LoseWorker(name);
  Start();  // and the server is killed too
  const v1::Assignment second = TakeJob();
  ASSERT_EQ(second.fence(), 2);
  ASSERT_EQ(second.checkpoint().files_size(), 3);
  for (const auto& [path, bytes] : first_) {
    EXPECT_EQ(*Download(second, path), bytes) << path;
    EXPECT_EQ(*Download(second, path, 1), bytes.substr(1)) << path;
  }
}

TEST_F(CheckpointRpcTest, OnlyWhatChangedIsAskedForAndWhatIsNotNeededIsRemoved) {
  Submitted();
  const v1::Assignment job = TakeJob();
  ASSERT_OK(UploadAndCommit(job, first_, 1));
  ASSERT_OK_AND_ASSIGN(const auto missing, Missing(job, second_));
  EXPECT_THAT(missing, testing::UnorderedElementsAre("checkpoint.json", "block-2", "state-2"));
  ASSERT_OK(UploadAndCommit(job, second_, 2));
  EXPECT_OK(Commit(job, second_, 2)) << "may be repeated";
  EXPECT_THAT(StoredDigests(job.job()), testing::UnorderedElementsAre(Sha256Hex("{2}"), Sha256Hex("one"),
                                                                      Sha256Hex("two"), Sha256Hex("after two")));
}

TEST_F(CheckpointRpcTest, AnIncompleteOneChangesNothing) {
  const std::string name = Submitted();
  const v1::Assignment job = TakeJob();
  ASSERT_OK(UploadAndCommit(job, first_, 1));
  EXPECT_THAT(Commit(job, second_, 2), FailsWith("CHECKPOINT_INCOMPLETE", "block-2"));
  EXPECT_EQ(Get(name)->checkpoint().block(), 1);
  EXPECT_EQ(*Download(job, "state-1"), "after one");
}

TEST_F(CheckpointRpcTest, GoesWithTheEndOfTheJob) {
  for (const bool cancelled : {false, true}) {
    const std::string name = Submitted();
    const v1::Assignment job = TakeJob();
    ASSERT_OK(UploadAndCommit(job, first_, 1));
    if (cancelled) {
      LoseWorker(name);
      ASSERT_THAT(StoredDigests(job.job()), testing::SizeIs(3)) << "kept for the next attempt";
      ASSERT_OK(Cancel(name));
    } else {
      Succeed(job, SmallArtifact());
    }
    EXPECT_TRUE(IsTerminal(Get(name)->state()));
    EXPECT_FALSE(Get(name)->has_checkpoint());
    EXPECT_THAT(StoredDigests(job.job()), IsEmpty());
  }
}

TEST_F(CheckpointRpcTest, WhatACrashLeftIsRemovedAtTheNextStart) {
  Submitted();
  const v1::Assignment job = TakeJob();
  ASSERT_OK(UploadAndCommit(job, first_, 1));
  ASSERT_OK(RealFileSystem().CreateDirectories(config_.data_dir + "/checkpoints/no-such-job/"));
  Start();
  EXPECT_FALSE(RealFileSystem().Exists(config_.data_dir + "/checkpoints/no-such-job"));
  EXPECT_EQ(*Download(job, "state-1"), "after one") << "the living keep theirs";
}

TEST_F(CheckpointRpcTest, ATamperedFileIsFoundWhenItIsRead) {
  Submitted();
  const v1::Assignment job = TakeJob();
  ASSERT_OK(UploadAndCommit(job, first_, 1));
  std::ofstream(config_.data_dir + "/checkpoints/" + job.job() + "/" + Sha256Hex("after one")) << "tampered!";
  const auto read = Download(job, "state-1");
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(read.status(), FailsWith("DIGEST_MISMATCH", "begin without a checkpoint"));
  EXPECT_THAT(Download(job, "no-such-file").status(), FailsWith("CHECKPOINT_FILE_NOT_FOUND", "no-such-file"));
  EXPECT_THAT(Download(job, "state-1", 10).status(), FailsWith("OFFSET_BEYOND_END", "9 bytes"));
  EXPECT_THAT(Download(job, "state-1", -1).status(), FailsWith("OFFSET_BEYOND_END", "-1"));
}

TEST_F(CheckpointRpcTest, EveryCallNeedsTheNewestFence) {
  const std::string name = Submitted();
  const v1::Assignment old = TakeJob();
  for (const auto& [path, bytes] : second_) ASSERT_OK(Upload(old, Describe(path, bytes), bytes));
  LoseWorker(name);
  const v1::Assignment now = TakeJob();
  ASSERT_OK(UploadAndCommit(now, first_, 1));
  v1::Assignment elses = now;
  elses.set_job("another-job");
  for (const v1::Assignment& bad : {old, elses}) {
    EXPECT_THAT(Commit(bad, second_, 2), FailsWith("STALE_LEASE", ""));
    EXPECT_THAT(Missing(bad, second_).status(), FailsWith("STALE_LEASE", ""));
    EXPECT_THAT(Download(bad, "state-1").status(), FailsWith("STALE_LEASE", ""));
  }
  EXPECT_EQ(Get(name)->checkpoint().block(), 1);
}

}  // namespace
}  // namespace quantd
