// UploadArtifact, DownloadArtifact and GetQuantReport over gRPC.
#include <gtest/gtest.h>

#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

struct Downloaded {
  std::vector<v1::DownloadArtifactResponse> messages;
  std::string bytes;
  absl::Status status;
};

class ArtifactRpcTest : public DaemonTest {
 protected:
  // A job that has succeeded with these weights.
  std::string SucceededWith(const SmallArtifact& small) {
    std::string name = Submitted();
    Succeed(TakeJob(), small);
    return name;
  }

  Downloaded Download(const std::string& name, const std::string& path, int64_t offset) {
    grpc::ClientContext context;
    v1::DownloadArtifactRequest request;
    request.set_name(name);
    request.set_path(path);
    request.set_offset(offset);
    const auto reader = quant_->DownloadArtifact(&context, request);
    Downloaded result;
    v1::DownloadArtifactResponse message;
    while (reader->Read(&message)) {
      EXPECT_EQ(message.offset(), offset + static_cast<int64_t>(result.bytes.size()));
      result.bytes += message.data();
      result.messages.push_back(message);
    }
    result.status = FromRpcStatus(reader->Finish());
    return result;
  }

  absl::StatusOr<v1::QuantReport> Report(const std::string& name) {
    grpc::ClientContext context;
    v1::GetQuantReportRequest request;
    request.set_name(name);
    v1::QuantReport report;
    const grpc::Status status = quant_->GetQuantReport(&context, request, &report);
    if (!status.ok()) return FromRpcStatus(status);
    return report;
  }

  std::string StoredPath(const v1::ArtifactFile& file) const {
    return config_.data_dir + "/artifacts/sha256/" + file.sha256().substr(0, 2) + "/" + file.sha256();
  }
};

std::string ManyBytes(size_t count) {
  std::string bytes(count, '\0');
  uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

TEST_F(ArtifactRpcTest, FilesComeBackFromEveryOffset) {
  const SmallArtifact small(ManyBytes((2 << 20) + 12'345));
  const std::string name = SucceededWith(small);
  const v1::ArtifactFile& file = small.artifact.files(0);
  const int64_t size = file.size_bytes();
  for (const int64_t offset : {int64_t{0}, int64_t{1}, int64_t{1 << 20}, size - 1, size}) {
    const Downloaded download = Download(name, file.path(), offset);
    EXPECT_OK(download.status);
    EXPECT_TRUE(download.bytes == small.contents[0].substr(static_cast<size_t>(offset))) << offset;
    ASSERT_FALSE(download.messages.empty());
    EXPECT_EQ(download.messages.front().sha256(), file.sha256());
    EXPECT_EQ(download.messages.front().size_bytes(), size);
    for (const auto& message : download.messages) EXPECT_LE(message.data().size(), 1 << 20);
    EXPECT_TRUE(download.messages.back().done());
  }
}

TEST_F(ArtifactRpcTest, TheManifestIsTheDefault) {
  const SmallArtifact small;
  const std::string name = SucceededWith(small);
  const Downloaded download = Download(name, "", 0);
  EXPECT_OK(download.status);
  EXPECT_EQ(download.bytes, small.contents[1]);
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob job, Get(name));
  EXPECT_EQ(job.artifact().digest(), Sha256Hex(download.bytes));
  EXPECT_EQ(job.artifact().size_bytes(), static_cast<int64_t>(small.contents[0].size() + small.contents[1].size()));
}

TEST_F(ArtifactRpcTest, WhatIsNotThereIsSaid) {
  const std::string queued = Submitted();
  EXPECT_THAT(Download(queued, "", 0).status, FailsWith("ARTIFACT_NOT_FOUND", "is QUEUED"));
  Succeed(TakeJob(), SmallArtifact());
  const Downloaded absent = Download(queued, "../../quantd.db", 0);
  EXPECT_THAT(absent.status, FailsWith("ARTIFACT_FILE_NOT_FOUND", "no file '../../quantd.db'"));
  EXPECT_EQ(absent.status.code(), absl::StatusCode::kNotFound);
  for (const int64_t offset : {int64_t{-1}, int64_t{8}, INT64_MAX}) {
    const Downloaded beyond = Download(queued, "model.safetensors", offset);
    EXPECT_EQ(beyond.status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(beyond.status, FailsWith("OFFSET_BEYOND_END", "has 7 bytes"));
    EXPECT_TRUE(beyond.messages.empty());
  }
}

TEST_F(ArtifactRpcTest, DamagedBytesAreNeverCalledDone) {
  const SmallArtifact small(ManyBytes(300'000));
  const std::string name = SucceededWith(small);
  std::string damaged = small.contents[0];
  damaged[10] ^= 1;
  ASSERT_OK(WriteFileDurably(RealFileSystem(), StoredPath(small.artifact.files(0)), damaged));
  for (const int64_t offset : {0, 100}) {
    const Downloaded download = Download(name, "model.safetensors", offset);
    EXPECT_EQ(download.status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(download.status, FailsWith("DIGEST_MISMATCH", "run the job again"));
    for (const auto& message : download.messages) EXPECT_FALSE(message.done());
  }
}

TEST_F(ArtifactRpcTest, TruncatedOrMissingBytesAreAnError) {
  const SmallArtifact small(ManyBytes(300'000));
  const std::string name = SucceededWith(small);
  const std::string path = StoredPath(small.artifact.files(0));
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, small.contents[0].substr(0, 1000)));
  EXPECT_FALSE(Download(name, "model.safetensors", 0).status.ok());
  EXPECT_FALSE(Download(name, "model.safetensors", 2000).status.ok());
  ASSERT_OK(RealFileSystem().RemoveFile(path));
  EXPECT_THAT(Download(name, "model.safetensors", 0).status, FailsWith("ARTIFACT_FILE_NOT_FOUND", "no published file"));
  EXPECT_OK(Get(name));
}

TEST_F(ArtifactRpcTest, ReportComesWithTheEndOfTheJob) {
  const std::string name = Submitted();
  const auto early = Report(name);
  EXPECT_THAT(early, FailsWith("JOB_NOT_FINISHED", "is QUEUED"));
  EXPECT_EQ(early.status().code(), absl::StatusCode::kFailedPrecondition);
  const v1::Assignment job = TakeJob();
  EXPECT_THAT(Report(name), FailsWith("JOB_NOT_FINISHED", "is RUNNING"));
  Succeed(job, SmallArtifact());
  ASSERT_OK_AND_ASSIGN(const v1::QuantReport report, Report(name));
  EXPECT_EQ(report.size().compression_ratio(), 4);
  EXPECT_THAT(Report("tenants/default/jobs/nobody"), FailsWith("JOB_NOT_FOUND", "nobody"));
}

TEST_F(ArtifactRpcTest, UploadOfALostLeaseIsRefused) {
  Submitted();
  v1::Assignment job = TakeJob();
  const SmallArtifact small;
  job.set_fence(2);
  const absl::Status newer = Upload(job, small.artifact.files(0), small.contents[0]);
  EXPECT_EQ(newer.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(newer, FailsWith("STALE_LEASE", "fence 2"));
  job.set_job("nobody");
  EXPECT_THAT(Upload(job, small.artifact.files(0), small.contents[0]), FailsWith("STALE_LEASE", "nobody"));
}

TEST_F(ArtifactRpcTest, UploadWithWrongBytesIsRefused) {
  Submitted();
  const v1::Assignment job = TakeJob();
  const SmallArtifact small;
  EXPECT_THAT(Upload(job, small.artifact.files(0), "WEIGHTS"), FailsWith("DIGEST_MISMATCH", "from offset 0"));
  EXPECT_THAT(Upload(job, small.artifact.files(0), "weights and more"), FailsWith("UPLOAD_TOO_LONG", "announced 7"));
  Succeed(job, small);
}

}  // namespace
}  // namespace quantd
