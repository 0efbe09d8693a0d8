// What is particular to artifacts in an object store: several servers, and a store that fails in every way it can.
#include "server/artifacts/s3_artifact_store.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/server/store_kinds.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::IsEmpty;

const StagingKey kAttempt = {"a", 1};

absl::Status SendTo(ArtifactStore& store, const v1::ArtifactFile& file, absl::string_view bytes, int64_t offset,
                    const StagingKey& key = kAttempt) {
  ASSIGN_OR_RETURN(const auto upload, store.BeginUpload(key, file, offset));
  RETURN_IF_ERROR(upload->Append(bytes));
  return upload->Finish();
}

LiveAttempts Alive(std::vector<StagingKey> attempts) {
  return [attempts = std::move(attempts)]() -> absl::StatusOr<std::vector<StagingKey>> { return attempts; };
}

class S3ArtifactStoreTest : public testing::Test {
 protected:
  S3ArtifactStoreTest() : one_(Opened(MakeTempDir())), two_(Opened(MakeTempDir())) {}

  std::unique_ptr<ArtifactStore> Opened(const std::string& directory) {
    auto store = place_.OpenElsewhere(directory);
    EXPECT_OK(store);
    return store.ok() ? *std::move(store) : nullptr;
  }
  MemoryS3& objects() { return *place_.memory(); }
  std::string PathOf(const std::string& name) const {
    return absl::StrCat("/artifacts/", BaseName(directory_), "/", name);
  }
  std::string PublishedPath(const v1::ArtifactFile& file) const {
    return PathOf(absl::StrCat("sha256/", file.sha256().substr(0, 2), "/", file.sha256()));
  }
  // Both files of small_ sent to `store`.
  void SendAll(ArtifactStore& store) {
    for (int i = 0; i < 2; ++i) ASSERT_OK(SendTo(store, small_.artifact.files(i), small_.contents[i], 0));
  }
  void FailWith(int status, const std::string& code) {
    objects().SetFault([status, code](const ScriptedRequest&) { return S3Error(status, code); });
  }

  const std::string directory_ = MakeTempDir();
  StorePlace place_{StoreKind::kMemoryS3, RealFileSystem(), directory_};
  std::unique_ptr<ArtifactStore> one_;
  std::unique_ptr<ArtifactStore> two_;
  const SmallArtifact small_;
};

TEST_F(S3ArtifactStoreTest, FilesMayGoToOneServerAndTheResultToAnother) {
  ASSERT_OK(SendTo(*one_, small_.artifact.files(0), small_.contents[0], 0));
  EXPECT_EQ(*two_->UploadOffset(kAttempt, small_.artifact.files(0).path()), small_.artifact.files(0).size_bytes());
  EXPECT_OK(SendTo(*two_, small_.artifact.files(0), "", small_.artifact.files(0).size_bytes())) << "nothing is left";
  ASSERT_OK(SendTo(*two_, small_.artifact.files(1), small_.contents[1], 0));
  ASSERT_OK(two_->Publish(kAttempt, small_.artifact));
  ASSERT_OK(one_->Publish(kAttempt, small_.artifact)) << "repeated at the other server";
  ASSERT_OK(one_->DropStaging(kAttempt));
  EXPECT_OK(two_->Publish(kAttempt, small_.artifact)) << "and after staging is gone";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(objects().Get(PublishedPath(small_.artifact.files(i))), small_.contents[i]);
  EXPECT_EQ(objects().Paths().size(), 2u) << "nothing staged is left";
}

TEST_F(S3ArtifactStoreTest, AFileThatBrokeOffIsBegunAnewElsewhere) {
  const v1::ArtifactFile& file = small_.artifact.files(0);
  ASSERT_OK(SendTo(*one_, file, small_.contents[0].substr(0, 3), 0));
  EXPECT_EQ(*one_->UploadOffset(kAttempt, file.path()), 3);
  EXPECT_EQ(*two_->UploadOffset(kAttempt, file.path()), 0);
  EXPECT_THAT(two_->BeginUpload(kAttempt, file, 3), FailsWith("UPLOAD_OFFSET_WRONG", "0 bytes are there"));
  ASSERT_OK(SendTo(*two_, file, small_.contents[0], 0));
  EXPECT_EQ(*one_->UploadOffset(kAttempt, file.path()), file.size_bytes()) << "whole by now";
}

TEST_F(S3ArtifactStoreTest, CheckpointsAreCommittedAtAnyServer) {
  v1::Checkpoint checkpoint;
  *checkpoint.add_files() = small_.artifact.files(0);
  *checkpoint.add_files() = small_.artifact.files(1);
  checkpoint.mutable_files(1)->set_path("checkpoint.json");
  ASSERT_OK(SendTo(*one_, checkpoint.files(0), small_.contents[0], 0));
  ASSERT_OK(SendTo(*two_, checkpoint.files(1), small_.contents[1], 0));
  ASSERT_OK(one_->CommitCheckpoint(kAttempt, checkpoint));
  EXPECT_OK(two_->OpenCheckpointFile("a", checkpoint.files(0).sha256()));
  EXPECT_THAT(*two_->CheckpointFilesMissing({"a", 2}, checkpoint), IsEmpty());
}

TEST_F(S3ArtifactStoreTest, SweepingLeavesWhatAnotherServerHasJustReceived) {
  SendAll(*one_);
  ASSERT_OK(two_->KeepStaging(Alive({{"a", 1}})));
  EXPECT_EQ(objects().Paths().size(), 2u) << "a live attempt's";
  const StagingKey newer = {"a", 2};
  const auto begins_meanwhile = [&]() -> absl::StatusOr<std::vector<StagingKey>> {
    EXPECT_OK(SendTo(*one_, small_.artifact.files(0), small_.contents[0], 0, newer));
    return std::vector<StagingKey>{};
  };
  ASSERT_OK(two_->KeepStaging(begins_meanwhile));
  EXPECT_THAT(objects().Paths(), testing::ElementsAre(testing::HasSubstr("/staging/a/2/")));
}

TEST_F(S3ArtifactStoreTest, WhatWasPublishedLongAgoIsMadeFreshByThePublisherOfToday) {
  SendAll(*one_);
  const std::string path = PublishedPath(small_.artifact.files(0));
  objects().Put(path, small_.contents[0], absl::Now() - absl::Hours(30));
  const size_t before = objects().requests().size();
  ASSERT_OK(one_->Publish(kAttempt, small_.artifact));
  bool written = false;
  const auto requests = objects().requests();
  for (size_t i = before; i < requests.size(); ++i) written |= requests[i].method == "PUT" && requests[i].path == path;
  EXPECT_TRUE(written) << "a collector of old files must not take it";
}

TEST_F(S3ArtifactStoreTest, AnObjectOfTheWrongSizeIsReplaced) {
  const v1::ArtifactFile& file = small_.artifact.files(0);
  objects().Put(PathOf(absl::StrCat("staging/a/1/", file.path(), "/", file.sha256())), "cut");
  objects().Put(PublishedPath(file), "cut");
  SendAll(*one_);
  ASSERT_OK(one_->Publish(kAttempt, small_.artifact));
  EXPECT_EQ(objects().Get(PublishedPath(file)), small_.contents[0]);
}

TEST_F(S3ArtifactStoreTest, ReadersOfDamagedObjectsAreTold) {
  SendAll(*one_);
  ASSERT_OK(one_->Publish(kAttempt, small_.artifact));
  const v1::ArtifactFile& file = small_.artifact.files(0);
  std::string damaged = small_.contents[0];
  damaged.back() ^= 1;
  objects().Put(PublishedPath(file), damaged);
  ASSERT_OK_AND_ASSIGN(const auto opened, one_->Open(file.sha256()));
  std::string bytes(static_cast<size_t>(file.size_bytes()), '\0');
  const auto all = absl::MakeSpan(bytes);
  EXPECT_OK(opened->Read(0, all.first(3)));
  const absl::Status end = opened->Read(3, all.subspan(3));
  EXPECT_EQ(end.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(end, FailsWith("DIGEST_MISMATCH", file.sha256()));
}

TEST_F(S3ArtifactStoreTest, LargeFilesAreReadInFewRequestsAtAnyStep) {
  std::string bytes((9 << 20) + 77, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 7);
  v1::ArtifactFile file;
  file.set_path("large");
  file.set_size_bytes(static_cast<int64_t>(bytes.size()));
  file.set_sha256(Sha256Hex(bytes));
  objects().Put(PublishedPath(file), bytes);
  ASSERT_OK_AND_ASSIGN(const auto opened, one_->Open(file.sha256()));
  const size_t before = objects().requests().size();
  std::string read(bytes.size(), '\0');
  for (size_t offset = 0; offset < read.size(); offset += 100'000) {
    const size_t step = std::min<size_t>(100'000, read.size() - offset);
    ASSERT_OK(opened->Read(offset, absl::MakeSpan(read).subspan(offset, step)));
  }
  EXPECT_TRUE(read == bytes);
  EXPECT_EQ(objects().requests().size() - before, 3u) << "windows of 4 MiB";
  ASSERT_OK(opened->Read(5, absl::MakeSpan(read).first(10))) << "and back";
  EXPECT_EQ(read.substr(0, 10), bytes.substr(5, 10));
  EXPECT_THAT(opened->Read(bytes.size() - 1, absl::MakeSpan(read).first(2)),
              FailsWith("FILE_TOO_SHORT", "2 were wanted"));
}

struct StoreTrouble {
  int http_status;
  const char* code;
  absl::StatusCode status;
  const char* reason;
};
constexpr StoreTrouble kTroubles[] = {
    {403, "AccessDenied", absl::StatusCode::kPermissionDenied, "OBJECT_STORE_DENIED"},
    {409, "OperationAborted", absl::StatusCode::kAborted, "OBJECT_CONFLICT"},
    {500, "InternalError", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE"},
    {503, "SlowDown", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE"},
    {507, "StorageFull", absl::StatusCode::kResourceExhausted, "DISK_FULL"},
};

// Every call, with every answer: a clear reason, nothing half-published, and all is well once the trouble is over.
TEST_F(S3ArtifactStoreTest, EveryTroubleOfTheStoreIsNamedAndPasses) {
  for (const StoreTrouble& row : kTroubles) {
    ASSERT_OK(one_->DropStaging(kAttempt));
    ASSERT_OK(SendTo(*one_, small_.artifact.files(0), small_.contents[0], 0));
    FailWith(row.http_status, row.code);
    const v1::ArtifactFile& manifest = small_.artifact.files(1);
    ASSERT_OK_AND_ASSIGN(auto upload, one_->BeginUpload(kAttempt, manifest, 0));
    ASSERT_OK(upload->Append(small_.contents[1]));
    const absl::Status finished = upload->Finish();
    upload.reset();
    for (const absl::Status& status :
         {finished, one_->Publish(kAttempt, small_.artifact), one_->Open(manifest.sha256()).status(),
          one_->UploadOffset(kAttempt, "x").status(), one_->DropStaging({"b", 1}), one_->KeepStaging(Alive({kAttempt})),
          one_->DropCheckpoint("a"), one_->CheckpointedJobs().status()}) {
      EXPECT_EQ(status.code(), row.status) << row.code;
      EXPECT_EQ(ReasonOf(status), row.reason) << status;
    }
    objects().SetFault(nullptr);
    EXPECT_EQ(ReasonOf(one_->Open(manifest.sha256()).status()), "ARTIFACT_FILE_NOT_FOUND") << row.code;
    EXPECT_EQ(*one_->UploadOffset(kAttempt, manifest.path()), manifest.size_bytes()) << "received, not yet passed on";
    EXPECT_THAT(one_->Publish(kAttempt, small_.artifact), FailsWith("ARTIFACT_INCOMPLETE", "manifest.json"));
    ASSERT_OK(SendTo(*one_, manifest, "", manifest.size_bytes())) << "with nothing left to send";
    ASSERT_OK(one_->Publish(kAttempt, small_.artifact));
    for (const v1::ArtifactFile& file : small_.artifact.files()) {
      ASSERT_OK(place_.client()->Delete({"artifacts", PublishedPath(file).substr(strlen("/artifacts/"))}));
    }
  }
}

TEST_F(S3ArtifactStoreTest, AManifestIsPublishedAfterItsFiles) {
  SendAll(*one_);
  objects().SetFault([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    const bool copies_weights = request.method == "PUT" && request.path == PublishedPath(small_.artifact.files(0));
    if (!copies_weights) return std::nullopt;
    return S3Error(500, "InternalError");
  });
  EXPECT_THAT(one_->Publish(kAttempt, small_.artifact), FailsWith("OBJECT_STORE_UNAVAILABLE", "InternalError"));
  EXPECT_FALSE(objects().Get(PublishedPath(small_.artifact.files(1))).has_value());
  objects().SetFault(nullptr);
  EXPECT_OK(one_->Publish(kAttempt, small_.artifact));
}

TEST_F(S3ArtifactStoreTest, AStoreThatCannotBeUsedIsSaidAtOnceAndOneThatIsDownIsWaitedFor) {
  FailWith(403, "InvalidAccessKeyId");
  EXPECT_THAT(place_.Open(), FailsWith("OBJECT_STORE_DENIED", "InvalidAccessKeyId"));
  FailWith(404, "NoSuchBucket");
  EXPECT_THAT(place_.Open(), FailsWith("OBJECT_NOT_FOUND", "NoSuchBucket"));
  FailWith(503, "SlowDown");
  EXPECT_OK(place_.Open());
}

}  // namespace
}  // namespace quantd
