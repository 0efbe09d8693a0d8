// Downloads: resumed, compared with their digests, never half-published.
#include <fstream>

#include "client/artifact_files.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "tests/client/fake_service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kName[] = "tenants/default/jobs/j1";
constexpr char kModel[] = "0123456789abcdefghijklmnopqrstuvwxyz";

std::string Read(const std::string& path) {
  return RealFileSystem().ReadFile(path, 1 << 20).value_or("(absent)");
}

void Write(const std::string& path, const std::string& bytes) {
  ASSERT_OK(RealFileSystem().CreateDirectories(DirectoryName(path)));
  std::ofstream(path, std::ios::binary) << bytes;
}

class DownloadTest : public testing::Test {
 protected:
  DownloadTest() {
    service().contents = {{"model-00001.safetensors", kModel}, {"exports/gptq/config.json", "{}"}, {"empty.txt", ""}};
    job_ = service().AddFinishedJob(kName);
  }
  FakeService& service() { return server_.service(); }
  absl::Status Download() { return server_.Client().Download(job_, {.directory = out_}); }
  std::string Out(const std::string& path) const { return JoinPath(out_, path); }
  std::vector<int64_t> OffsetsAskedFor(const std::string& path) {
    std::vector<int64_t> offsets;
    for (const auto& request : service().downloads) {
      if (request.path() == path) offsets.push_back(request.offset());
    }
    return offsets;
  }

  FakeServer server_;
  v1::QuantJob job_;
  std::string out_ = JoinPath(MakeTempDir(), "artifact");
};

TEST_F(DownloadTest, EveryFileArrivesAndNoPartStays) {
  ASSERT_OK(Download());
  EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
  EXPECT_EQ(Read(Out("exports/gptq/config.json")), "{}");
  EXPECT_EQ(Read(Out("empty.txt")), "");
  EXPECT_EQ(Read(Out("manifest.json")), service().contents["manifest.json"]);
  EXPECT_EQ(service().downloads.back().path(), "manifest.json");
  ASSERT_OK_AND_ASSIGN(const auto names, RealFileSystem().ListDirectory(out_));
  EXPECT_THAT(names, testing::ElementsAre("empty.txt", "exports", "manifest.json", "model-00001.safetensors"));
}

TEST_F(DownloadTest, WhatIsThereIsNotFetchedAgain) {
  ASSERT_OK(Download());
  service().downloads.clear();
  ASSERT_OK(Download());
  EXPECT_TRUE(service().downloads.empty());
}

TEST_F(DownloadTest, BrokenStreamGoesOnWhereItStopped) {
  service().download_breaks = {-1, 8, 12, -1};  // the export, then the model
  ASSERT_OK(Download());
  EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
  EXPECT_THAT(OffsetsAskedFor("model-00001.safetensors"), testing::ElementsAre(0, 8, 20));
}

TEST_F(DownloadTest, PartOfAnEarlierRunIsResumed) {
  Write(Out("model-00001.safetensors.part"), "0123456789");
  ASSERT_OK(Download());
  EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
  EXPECT_THAT(OffsetsAskedFor("model-00001.safetensors"), testing::ElementsAre(10));
}

TEST_F(DownloadTest, WholePartIsOnlyRenamed) {
  Write(Out("model-00001.safetensors.part"), kModel);
  ASSERT_OK(Download());
  EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
  EXPECT_THAT(OffsetsAskedFor("model-00001.safetensors"), testing::IsEmpty());
}

TEST_F(DownloadTest, PartOfSomethingElseIsReplaced) {
  for (const std::string& part : {std::string("XXXXXXXX"), std::string(1000, 'X')}) {
    Write(Out("model-00001.safetensors.part"), part);
    ASSERT_OK(Download());
    EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
    ASSERT_OK(RealFileSystem().RemoveAll(out_));
  }
}

TEST_F(DownloadTest, FileOfSomethingElseIsReplaced) {
  Write(Out("model-00001.safetensors"), std::string(sizeof(kModel) - 1, 'X'));
  ASSERT_OK(Download());
  EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
}

TEST_F(DownloadTest, DamagedBytesAreRefusedAndDropped) {
  service().damage_downloads = true;
  EXPECT_THAT(Download(), FailsWith("DIGEST_MISMATCH", ".json"));
  EXPECT_FALSE(RealFileSystem().Exists(Out("exports/gptq/config.json")));
  EXPECT_FALSE(RealFileSystem().Exists(Out("exports/gptq/config.json.part")));
  EXPECT_FALSE(RealFileSystem().Exists(Out("manifest.json")));
  service().damage_downloads = false;
  EXPECT_OK(Download());
}

TEST_F(DownloadTest, FileThatChangedOnTheServerIsRefused) {
  service().contents["model-00001.safetensors"] = "something else";
  EXPECT_THAT(Download(), FailsWith("ARTIFACT_CHANGED", "model-00001.safetensors"));
}

TEST_F(DownloadTest, ManifestThatDisagreesIsRefused) {
  job_.mutable_artifact()->mutable_files()->RemoveLast();  // as a server that does not list the manifest
  const std::pair<const char*, const char*> kRows[] = {
      {R"({"files": [{"path": "empty.txt", "sha256": "00"}]})", "'empty.txt'"},
      {R"({"files": [{"path": "unlisted.txt", "sha256": "00"}]})", "'unlisted.txt'"},
      {R"({"files": [{"path": "empty.txt"}]})", "sha256"},
      {R"({})", "no list of files"},
      {"not JSON", "cannot be read"},
  };
  for (const auto& [manifest, mentions] : kRows) {
    service().contents["manifest.json"] = manifest;
    job_.mutable_artifact()->set_digest(Sha256Hex(manifest));
    EXPECT_THAT(Download(), FailsWith("MANIFEST_DISAGREES", mentions));
    EXPECT_FALSE(RealFileSystem().Exists(Out("manifest.json")));
  }
}

// Measurements are in no manifest.
TEST_F(DownloadTest, ManifestNeedNotNameEveryFile) {
  const std::string manifest = R"({"files": [{"path": "empty.txt", "sha256": ")" + Sha256Hex("") + R"("}]})";
  service().contents["manifest.json"] = manifest;
  job_.mutable_artifact()->mutable_files()->RemoveLast();
  job_.mutable_artifact()->set_digest(Sha256Hex(manifest));
  EXPECT_OK(Download());
  EXPECT_EQ(Read(Out("model-00001.safetensors")), kModel);
}

TEST_F(DownloadTest, MissingFileIsReported) {
  service().contents.erase("model-00001.safetensors");
  EXPECT_THAT(Download(), FailsWith("ARTIFACT_FILE_NOT_FOUND", "model-00001.safetensors"));
}

TEST_F(DownloadTest, LocalErrorsNameThePath) {
  Write(Out("exports"), "a file where a folder is due");
  const absl::Status status = Download();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("exports"));
}

TEST_F(DownloadTest, OneFileToAnyPlace) {
  const std::string destination = JoinPath(MakeTempDir(), "report.html");
  ASSERT_OK(server_.Client().DownloadFile(job_, "model-00001.safetensors", destination));
  EXPECT_EQ(Read(destination), kModel);
  EXPECT_THAT(server_.Client().DownloadFile(job_, "report.html", destination),
              FailsWith("ARTIFACT_FILE_NOT_FOUND", "report.html"));
}

TEST_F(DownloadTest, ProgressEndsAtTheTotal) {
  int64_t last = -1;
  int64_t total = 0;
  const auto on_progress = [&](const DownloadProgress& progress) {
    EXPECT_GE(progress.done_bytes, last);
    last = progress.done_bytes;
    total = progress.total_bytes;
  };
  ASSERT_OK(server_.Client().Download(job_, {.directory = out_, .on_progress = on_progress}));
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, job_.artifact().size_bytes());
}

TEST_F(DownloadTest, ListsThatCannotBeAreRefusedBeforeAnythingIsWritten) {
  const struct {
    const char* path;
    int64_t size_bytes;
    const char* digest;
    const char* reason;
  } kRows[] = {
      {"../x", 1, nullptr, "ARTIFACT_PATH_INVALID"},      {"/etc/x", 1, nullptr, "ARTIFACT_PATH_INVALID"},
      {"a/../../x", 1, nullptr, "ARTIFACT_PATH_INVALID"}, {"a//b", 1, nullptr, "ARTIFACT_PATH_INVALID"},
      {"", 1, nullptr, "ARTIFACT_PATH_INVALID"},          {"./a", 1, nullptr, "ARTIFACT_PATH_INVALID"},
      {"a\nb", 1, nullptr, "ARTIFACT_PATH_INVALID"},      {"a\\b", 1, nullptr, "ARTIFACT_PATH_INVALID"},
      {"empty.txt", 0, nullptr, "ARTIFACT_PATH_INVALID"}, {"b.part", 1, nullptr, "ARTIFACT_PATH_INVALID"},
      {"b", -1, nullptr, "ARTIFACT_LIST_INVALID"},        {"b", INT64_MAX, nullptr, "ARTIFACT_LIST_INVALID"},
      {"b", 1, "beef", "ARTIFACT_LIST_INVALID"},          {"b", 1, "", "ARTIFACT_LIST_INVALID"},
  };
  for (const auto& row : kRows) {
    v1::QuantJob job = job_;
    v1::ArtifactFile* const file = job.mutable_artifact()->add_files();
    file->set_path(row.path);
    file->set_size_bytes(row.size_bytes);
    file->set_sha256(row.digest == nullptr ? Sha256Hex("") : row.digest);
    EXPECT_EQ(ReasonOf(server_.Client().Download(job, {.directory = out_})), row.reason) << row.path;
  }
  EXPECT_FALSE(RealFileSystem().Exists(out_));
  EXPECT_THAT(server_.Client().Download(JobAt(kName, v1::QuantJob::RUNNING, 2), {.directory = out_}),
              FailsWith("JOB_NOT_FINISHED", "RUNNING"));
}

}  // namespace
}  // namespace quantd
