// Stores of artifacts, each of them: staged by job and fence, resumable, published whole.
#include "server/artifacts/artifact_store.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/server/store_kinds.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

const StagingKey kAttempt = {"a", 1};

v1::ArtifactFile Described(const std::string& path, const std::string& bytes) {
  v1::ArtifactFile file;
  file.set_path(path);
  file.set_size_bytes(static_cast<int64_t>(bytes.size()));
  file.set_sha256(Sha256Hex(bytes));
  return file;
}

class ArtifactStoreTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    if (!place_.obstacle().empty()) GTEST_SKIP() << place_.obstacle();
    Reopen();
  }
  void Reopen() {
    auto store = place_.Open();
    ASSERT_OK(store);
    store_ = *std::move(store);
  }
  // Sends `bytes` as the part of `file` that begins at `offset`.
  absl::Status Send(const StagingKey& key, const v1::ArtifactFile& file, absl::string_view bytes, int64_t offset) {
    ASSIGN_OR_RETURN(const auto upload, store_->BeginUpload(key, file, offset));
    RETURN_IF_ERROR(upload->Append(bytes));
    return upload->Finish();
  }
  int64_t Offset(const StagingKey& key, const std::string& path) {
    const auto offset = store_->UploadOffset(key, path);
    EXPECT_OK(offset);
    return offset.value_or(-1);
  }
  std::string Published(const std::string& sha256) {
    const auto file = store_->Open(sha256);
    if (!file.ok()) return ReasonOf(file.status());
    std::string bytes((*file)->size_bytes(), '\0');
    EXPECT_OK((*file)->Read(0, absl::MakeSpan(bytes)));
    return bytes;
  }
  std::vector<std::string> Staged(const std::string& folder) { return place_.Staged(folder); }

  const std::string directory_ = MakeTempDir();
  FaultyFileSystem files_{RealFileSystem()};
  StorePlace place_{GetParam(), files_, directory_};
  std::unique_ptr<ArtifactStore> store_;
  const std::string bytes_ = "0123456789";
  const v1::ArtifactFile file_ = Described("exports/gptq/model.safetensors", bytes_);
};

TEST_P(ArtifactStoreTest, EveryAttemptHasItsOwnStaging) {
  ASSERT_OK(Send({"a", 1}, file_, bytes_, 0));
  ASSERT_OK(Send({"a", 2}, file_, "0123", 0));
  EXPECT_EQ(Offset({"a", 1}, file_.path()), 10);
  EXPECT_EQ(Offset({"a", 2}, file_.path()), 4);
  EXPECT_EQ(Offset({"b", 1}, file_.path()), 0);
  ASSERT_OK(store_->DropStaging({"a", 2}));
  EXPECT_EQ(Offset({"a", 1}, file_.path()), 10);
  EXPECT_EQ(Offset({"a", 2}, file_.path()), 0);
  ASSERT_OK(store_->DropStaging({"a", 0}));
  EXPECT_THAT(Staged(""), testing::IsEmpty());
  EXPECT_OK(store_->DropStaging({"a", 1})) << "what is gone need not be dropped";
}

TEST_P(ArtifactStoreTest, UploadsResumeWhereverTheyBroke) {
  for (size_t cut = 0; cut <= bytes_.size(); ++cut) {
    const StagingKey key = {"a", static_cast<int64_t>(cut) + 1};
    ASSERT_OK(Send(key, file_, bytes_.substr(0, cut), 0));
    Reopen();
    const int64_t offset = Offset(key, file_.path());
    ASSERT_EQ(offset, cut);
    ASSERT_OK(Send(key, file_, bytes_.substr(cut), offset)) << cut;
    EXPECT_EQ(Offset(key, file_.path()), bytes_.size());
  }
}

TEST_P(ArtifactStoreTest, OtherOffsetsAreRefused) {
  ASSERT_OK(Send(kAttempt, file_, "0123", 0));
  for (const int64_t offset : {int64_t{-1}, int64_t{3}, int64_t{5}, int64_t{10}, INT64_MAX, INT64_MIN}) {
    const auto upload = store_->BeginUpload(kAttempt, file_, offset);
    EXPECT_EQ(upload.status().code(), absl::StatusCode::kOutOfRange) << offset;
    EXPECT_THAT(upload, FailsWith("UPLOAD_OFFSET_WRONG", "4 bytes are there"));
  }
  EXPECT_OK(Send(kAttempt, file_, bytes_, 0)) << "0 begins again";
}

TEST_P(ArtifactStoreTest, CompleteFileThatWasBegunAgainCanBeContinuedEitherWay) {
  for (const int64_t fence : {1, 2}) {
    const StagingKey key = {"a", fence};
    ASSERT_OK(Send(key, file_, bytes_, 0));
    ASSERT_OK(Send(key, file_, "0123", 0));
    EXPECT_EQ(Offset(key, file_.path()), 10);
    EXPECT_OK(fence == 1 ? Send(key, file_, "", 10) : Send(key, file_, "456789", 4));
  }
}

TEST_P(ArtifactStoreTest, WrongDigestIsRefusedAndForgotten) {
  const absl::Status status = Send(kAttempt, file_, "012345678X", 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status, FailsWith("DIGEST_MISMATCH", file_.sha256()));
  EXPECT_EQ(Offset(kAttempt, file_.path()), 0);
  ASSERT_OK(Send(kAttempt, file_, "X1234", 0));
  EXPECT_THAT(Send(kAttempt, file_, "56789", 5), FailsWith("DIGEST_MISMATCH", "offset 0"))
      << "the beginning was sent by another stream";
}

TEST_P(ArtifactStoreTest, MoreBytesThanAnnouncedAreRefused) {
  EXPECT_THAT(Send(kAttempt, file_, "0123456789X", 0), FailsWith("UPLOAD_TOO_LONG", "announced 10"));
  EXPECT_EQ(Offset(kAttempt, file_.path()), 0);
}

TEST_P(ArtifactStoreTest, OneStreamAFileAtATime) {
  ASSERT_OK_AND_ASSIGN(auto first, store_->BeginUpload(kAttempt, file_, 0));
  EXPECT_THAT(store_->BeginUpload(kAttempt, file_, 0), FailsWith("UPLOAD_IN_PROGRESS", "retry"));
  EXPECT_OK(store_->BeginUpload({"a", 2}, file_, 0)) << "another attempt";
  first.reset();
  EXPECT_OK(store_->BeginUpload(kAttempt, file_, 0));
}

TEST_P(ArtifactStoreTest, FilesThatCannotBeAreRefused) {
  struct Row {
    const char* reason;
    const char* field;
    std::function<void(v1::ArtifactFile&)> spoil;
  };
  const Row rows[] = {
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path(""); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path("/etc/passwd"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path("../x"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path("a/../x"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path("a//x"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path("a/"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path(".hidden"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path("a b"); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path(std::string("a\0b", 3)); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path(std::string(513, 'a')); }},
      {"ARTIFACT_PATH_INVALID", "file.path", [](auto& f) { f.set_path(std::string(256, 'a')); }},
      {"ARTIFACT_SIZE_INVALID", "file.size_bytes", [](auto& f) { f.set_size_bytes(-1); }},
      {"ARTIFACT_DIGEST_INVALID", "file.sha256", [](auto& f) { f.clear_sha256(); }},
      {"ARTIFACT_DIGEST_INVALID", "file.sha256", [](auto& f) { f.set_sha256(std::string(64, 'A')); }},
      {"ARTIFACT_DIGEST_INVALID", "file.sha256", [](auto& f) { f.set_sha256("../" + std::string(61, 'a')); }},
      {"ARTIFACT_DIGEST_INVALID", "file.sha256", [](auto& f) { f.set_sha256(std::string(63, 'a')); }},
  };
  for (const Row& row : rows) {
    v1::ArtifactFile file = file_;
    row.spoil(file);
    const absl::Status status = store_->BeginUpload(kAttempt, file, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << file.ShortDebugString();
    EXPECT_EQ(ReasonOf(status), row.reason) << file.ShortDebugString();
    EXPECT_EQ(FieldOf(status), row.field) << file.ShortDebugString();
  }
  EXPECT_THAT(store_->UploadOffset(kAttempt, "../x"), FailsWith("ARTIFACT_PATH_INVALID", "../x"));
}

TEST_P(ArtifactStoreTest, FileThatWouldNotFitIsRefusedBeforeItsFirstByte) {
  files_.SetFreeBytes(9);
  EXPECT_THAT(store_->BeginUpload(kAttempt, file_, 0), FailsWith("DISK_FULL", "has 9 free"));
  files_.SetFreeBytes(10);
  EXPECT_OK(store_->BeginUpload(kAttempt, file_, 0));
}

TEST_P(ArtifactStoreTest, OnlyCompleteArtifactsArePublished) {
  const SmallArtifact small;
  EXPECT_THAT(store_->Publish(kAttempt, small.artifact), FailsWith("ARTIFACT_INCOMPLETE", "model.safetensors"));
  ASSERT_OK(Send(kAttempt, small.artifact.files(1), small.contents[1], 0));
  ASSERT_OK(Send(kAttempt, small.artifact.files(0), "weig", 0));
  EXPECT_THAT(store_->Publish(kAttempt, small.artifact), FailsWith("ARTIFACT_INCOMPLETE", "was not uploaded"));
  EXPECT_EQ(Published(small.artifact.digest()), "ARTIFACT_FILE_NOT_FOUND");
  ASSERT_OK(Send(kAttempt, small.artifact.files(0), "hts", 4));
  v1::Artifact without_manifest = small.artifact;
  without_manifest.mutable_files()->RemoveLast();
  EXPECT_THAT(store_->Publish(kAttempt, without_manifest), FailsWith("ARTIFACT_MANIFEST_MISSING", "manifest.json"));
  v1::Artifact other_size = small.artifact;
  other_size.mutable_files(0)->set_size_bytes(8);
  EXPECT_THAT(store_->Publish(kAttempt, other_size), FailsWith("ARTIFACT_INCOMPLETE", "8 bytes"));
  EXPECT_THAT(store_->Publish({"a", 2}, small.artifact), FailsWith("ARTIFACT_INCOMPLETE", "model.safetensors"))
      << "another attempt has staged nothing";
  ASSERT_OK(store_->Publish(kAttempt, small.artifact));
  EXPECT_OK(store_->Publish(kAttempt, small.artifact)) << "may be repeated";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Published(small.artifact.files(i).sha256()), small.contents[i]);
}

TEST_P(ArtifactStoreTest, PublishedFilesAreListedAndRemoved) {
  std::vector<std::string> digests;
  for (const char* weights : {"a", "b", "c"}) {
    const SmallArtifact small(weights);
    for (int i = 0; i < 2; ++i) {
      ASSERT_OK(Send(kAttempt, small.artifact.files(i), small.contents[static_cast<size_t>(i)], 0));
      digests.push_back(small.artifact.files(i).sha256());
    }
    ASSERT_OK(store_->Publish(kAttempt, small.artifact));
  }
  std::sort(digests.begin(), digests.end());
  std::vector<std::string> listed;
  for (std::string after; listed.size() < digests.size(); after = listed.back()) {
    ASSERT_OK_AND_ASSIGN(const auto page, store_->ListPublished(after, 2));
    ASSERT_EQ(page.size(), 2u);
    for (const PublishedFile& file : page) listed.push_back(file.sha256);
  }
  EXPECT_EQ(listed, digests);
  ASSERT_OK_AND_ASSIGN(const auto beyond, store_->ListPublished(listed.back(), 2));
  EXPECT_TRUE(beyond.empty());

  ASSERT_OK_AND_ASSIGN(const bool too_young, store_->Remove(digests[0], absl::Hours(1)));
  EXPECT_FALSE(too_young);
  EXPECT_NE(Published(digests[0]), "ARTIFACT_FILE_NOT_FOUND");
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(const bool gone, store_->Remove(digests[0], absl::ZeroDuration()));
    EXPECT_TRUE(gone) << "also when it is gone already";
    EXPECT_EQ(Published(digests[0]), "ARTIFACT_FILE_NOT_FOUND");
  }
  EXPECT_NE(Published(digests[1]), "ARTIFACT_FILE_NOT_FOUND");
  EXPECT_OK(store_->Remove("../../quantd.db", absl::ZeroDuration()));
}

TEST_P(ArtifactStoreTest, NamesThatAreNoDigestsOpenNothing) {
  for (const std::string& name : {std::string(), std::string("../../quantd.db"), std::string(64, '.'),
                                  "../" + std::string(61, 'a'), std::string(64, 'a')}) {
    EXPECT_EQ(Published(name), "ARTIFACT_FILE_NOT_FOUND") << name;
  }
}

TEST_P(ArtifactStoreTest, LeftoversOfEndedAttemptsAreSwept) {
  for (const StagingKey& key : {StagingKey{"a", 1}, {"a", 2}, {"b", 1}, {"c", 7}}) {
    ASSERT_OK(Send(key, file_, "0123", 0));
  }
  ASSERT_OK(files_.OpenForWrite(directory_ + "/staging/stray").status());
  // "d" begins, on another server, after it was looked what is staged.
  const auto live = [&]() -> absl::StatusOr<std::vector<StagingKey>> {
    EXPECT_OK(Send({"d", 1}, file_, "0123", 0));
    return std::vector<StagingKey>{{"a", 2}, {"c", 6}, {"absent", 1}};
  };
  ASSERT_OK(store_->KeepStaging(live));
  EXPECT_THAT(Staged(""), testing::ElementsAre("a", "c", "d"));
  EXPECT_THAT(Staged("/a"), testing::ElementsAre("2"));
  EXPECT_THAT(Staged("/c"), testing::IsEmpty());
  EXPECT_EQ(Offset({"a", 2}, file_.path()), 4) << "what a live attempt has sent is kept";
  EXPECT_EQ(Offset({"d", 1}, file_.path()), 4) << "and what one sends that has just begun";
}

INSTANTIATE_TEST_SUITE_P(Stores, ArtifactStoreTest,
                         testing::Values(StoreKind::kDirectory, StoreKind::kMemoryS3, StoreKind::kMoto), KindName);

}  // namespace
}  // namespace quantd
