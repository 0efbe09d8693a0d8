// Files of checkpoints in each store of artifacts: taken whole, once per content, and never lost to a crash in
// between.
#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "server/artifacts/artifact_store.h"
#include "tests/server/store_kinds.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using Files = std::map<std::string, std::string>;  // path -> bytes

const StagingKey kAttempt = {"a", 1};

v1::Checkpoint Describe(const Files& files) {
  v1::Checkpoint checkpoint;
  for (const auto& [path, bytes] : files) {
    v1::ArtifactFile* file = checkpoint.add_files();
    file->set_path(path);
    file->set_size_bytes(static_cast<int64_t>(bytes.size()));
    file->set_sha256(Sha256Hex(bytes));
  }
  return checkpoint;
}

class CheckpointStore : public testing::Test {
 protected:
  explicit CheckpointStore(StoreKind kind = StoreKind::kDirectory) : place_(kind, files_, directory_) {}
  void SetUp() override {
    if (!place_.obstacle().empty()) GTEST_SKIP() << place_.obstacle();
    Reopen();
  }
  void Reopen() {
    auto store = place_.Open();
    ASSERT_OK(store);
    store_ = *std::move(store);
  }
  absl::Status Upload(const StagingKey& key, const std::string& path, const std::string& bytes) {
    ASSIGN_OR_RETURN(const auto upload, store_->BeginUpload(key, Describe({{path, bytes}}).files(0), 0));
    RETURN_IF_ERROR(upload->Append(bytes));
    return upload->Finish();
  }
  absl::Status UploadAndCommit(const StagingKey& key, const Files& files) {
    for (const auto& [path, bytes] : files) RETURN_IF_ERROR(Upload(key, path, bytes));
    return store_->CommitCheckpoint(key, Describe(files));
  }
  std::string Stored(const std::string& job, const std::string& bytes) {
    const auto file = store_->OpenCheckpointFile(job, Sha256Hex(bytes));
    if (!file.ok()) return ReasonOf(file.status());
    std::string stored((*file)->size_bytes(), '\0');
    EXPECT_OK((*file)->Read(0, absl::MakeSpan(stored)));
    return stored;
  }

  const std::string directory_ = MakeTempDir();
  FaultyFileSystem files_{RealFileSystem()};
  StorePlace place_;
  std::unique_ptr<ArtifactStore> store_;
  const Files first_ = {{"blocks/0.bin", "zero"}, {"state.bin", "after 0"}, {"checkpoint.json", "{1}"}};
  const Files second_ = {
      {"blocks/0.bin", "zero"}, {"blocks/1.bin", "one"}, {"state.bin", "after 1"}, {"checkpoint.json", "{2}"}};
};

class CheckpointStoreTest : public CheckpointStore, public testing::WithParamInterface<StoreKind> {
 protected:
  CheckpointStoreTest() : CheckpointStore(GetParam()) {}
};
INSTANTIATE_TEST_SUITE_P(Stores, CheckpointStoreTest,
                         testing::Values(StoreKind::kDirectory, StoreKind::kMemoryS3, StoreKind::kMoto), KindName);

TEST_P(CheckpointStoreTest, FilesAreTakenAndSurviveTheAttempt) {
  ASSERT_OK(UploadAndCommit(kAttempt, first_));
  ASSERT_OK(store_->DropStaging(kAttempt));
  Reopen();
  for (const auto& [path, bytes] : first_) EXPECT_EQ(Stored("a", bytes), bytes) << path;
  EXPECT_OK(store_->CommitCheckpoint(kAttempt, Describe(first_))) << "may be repeated";
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->CheckpointedJobs());
  EXPECT_THAT(jobs, testing::ElementsAre("a"));
}

TEST_P(CheckpointStoreTest, WhatAnEarlierCheckpointHadIsNotSentAgain) {
  ASSERT_OK(UploadAndCommit(kAttempt, first_));
  const StagingKey later = {"a", 2};
  ASSERT_OK_AND_ASSIGN(auto missing, store_->CheckpointFilesMissing(later, Describe(second_)));
  EXPECT_THAT(missing, testing::ElementsAre("blocks/1.bin", "checkpoint.json", "state.bin"));
  for (const std::string& path : missing) ASSERT_OK(Upload(later, path, second_.at(path)));
  ASSERT_OK_AND_ASSIGN(missing, store_->CheckpointFilesMissing(later, Describe(second_)));
  EXPECT_THAT(missing, testing::IsEmpty());
  ASSERT_OK(store_->CommitCheckpoint(later, Describe(second_)));
  for (const auto& [path, bytes] : second_) EXPECT_EQ(Stored("a", bytes), bytes) << path;

  ASSERT_OK(store_->RemoveCheckpointFiles("a", {Sha256Hex("after 0"), Sha256Hex("{1}"), Sha256Hex("never there")}));
  EXPECT_EQ(Stored("a", "after 0"), "CHECKPOINT_FILE_NOT_FOUND");
  EXPECT_EQ(Stored("a", "zero"), "zero");
}

TEST_P(CheckpointStoreTest, NothingIsTakenOfAnIncompleteOne) {
  ASSERT_OK(Upload(kAttempt, "checkpoint.json", "{1}"));
  ASSERT_OK(Upload(kAttempt, "state.bin", "after 0"));
  EXPECT_THAT(store_->CommitCheckpoint(kAttempt, Describe(first_)), FailsWith("CHECKPOINT_INCOMPLETE", "blocks/0.bin"));
  EXPECT_EQ(Stored("a", "after 0"), "CHECKPOINT_FILE_NOT_FOUND");
  EXPECT_THAT(store_->CommitCheckpoint({"a", 2}, Describe({{"checkpoint.json", "{1}"}})),
              FailsWith("CHECKPOINT_INCOMPLETE", "checkpoint.json"))
      << "another attempt's uploads do not count";
}

TEST_P(CheckpointStoreTest, JobsDoNotShareFiles) {
  ASSERT_OK(UploadAndCommit({"a", 1}, first_));
  ASSERT_OK(UploadAndCommit({"b", 1}, first_));
  ASSERT_OK(store_->DropCheckpoint("a"));
  EXPECT_OK(store_->DropCheckpoint("a")) << "what is gone need not be dropped";
  EXPECT_EQ(Stored("a", "zero"), "CHECKPOINT_FILE_NOT_FOUND");
  EXPECT_EQ(Stored("b", "zero"), "zero");
}

TEST_P(CheckpointStoreTest, OneContentUnderTwoNamesIsStoredOnce) {
  ASSERT_OK(UploadAndCommit(kAttempt, {{"checkpoint.json", "{}"}, {"x.bin", "same"}, {"y.bin", "same"}}));
  EXPECT_EQ(Stored("a", "same"), "same");
}

struct BadCheckpoint {
  const char* name;
  void (*spoil)(v1::Checkpoint&);
  const char* reason;
};
constexpr BadCheckpoint kBadCheckpoints[] = {
    {"NoManifest", [](v1::Checkpoint& c) { c.clear_files(); }, "CHECKPOINT_MALFORMED"},
    {"SamePathTwice", [](v1::Checkpoint& c) { *c.add_files() = c.files(0); }, "CHECKPOINT_MALFORMED"},
    {"PathOutside", [](v1::Checkpoint& c) { c.mutable_files(0)->set_path("../a"); }, "ARTIFACT_PATH_INVALID"},
    {"DigestOutside", [](v1::Checkpoint& c) { c.mutable_files(0)->set_sha256("../../x"); }, "ARTIFACT_DIGEST_INVALID"},
    {"NegativeSize", [](v1::Checkpoint& c) { c.mutable_files(0)->set_size_bytes(-1); }, "ARTIFACT_SIZE_INVALID"},
    {"TooManyFiles",
     [](v1::Checkpoint& c) {
       for (int i = 0; i < 10'000; ++i) c.add_files()->set_path(absl::StrCat(i));
     },
     "CHECKPOINT_MALFORMED"},
    {"TooLong", [](v1::Checkpoint& c) { c.set_fingerprint(std::string(3 << 20, 'x')); }, "CHECKPOINT_MALFORMED"},
};

class BadCheckpointTest : public CheckpointStore, public testing::WithParamInterface<BadCheckpoint> {};

TEST_P(BadCheckpointTest, IsRefused) {
  for (const auto& [path, bytes] : first_) ASSERT_OK(Upload(kAttempt, path, bytes));
  v1::Checkpoint checkpoint = Describe(first_);
  GetParam().spoil(checkpoint);
  EXPECT_EQ(ReasonOf(store_->CommitCheckpoint(kAttempt, checkpoint)), GetParam().reason);
  EXPECT_EQ(ReasonOf(store_->CheckpointFilesMissing(kAttempt, checkpoint).status()), GetParam().reason);
  EXPECT_OK(store_->CommitCheckpoint(kAttempt, Describe(first_))) << "the good one was not harmed";
}
INSTANTIATE_TEST_SUITE_P(All, BadCheckpointTest, testing::ValuesIn(kBadCheckpoints),
                         [](const auto& bad) { return std::string(bad.param.name); });

// Each operation on the disk fails once: the commit fails or works, the earlier checkpoint stays whole, and the next
// try works.
using FailingDisk = CheckpointStore;
TEST_F(FailingDisk, NeverHarmsTheCheckpointBefore) {
  int failures = 0;
  for (int at = 0;; ++at) {
    const std::string job = absl::StrCat("job-", at);
    ASSERT_OK(UploadAndCommit({job, 1}, first_));
    for (const auto& [path, bytes] : second_) ASSERT_OK(Upload({job, 1}, path, bytes));
    files_.FailAt(at, EIO, /*for_good=*/false);
    const absl::Status committed = store_->CommitCheckpoint({job, 1}, Describe(second_));
    const bool reached = files_.operations() > at;
    files_.Heal();
    for (const auto& [path, bytes] : first_) ASSERT_EQ(Stored(job, bytes), bytes) << path << " at " << at;
    if (!committed.ok()) {
      ++failures;
      ASSERT_OK(store_->CommitCheckpoint({job, 1}, Describe(second_))) << at;
    }
    for (const auto& [path, bytes] : second_) ASSERT_EQ(Stored(job, bytes), bytes) << path << " at " << at;
    if (!reached) break;
  }
  EXPECT_GE(failures, 5) << "a folder, three renames, two syncs";
}

}  // namespace
}  // namespace quantd
