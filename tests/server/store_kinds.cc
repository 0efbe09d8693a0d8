#include "tests/server/store_kinds.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// One for all tests of the process.
ObjectServer* SharedMoto() {
  static const std::unique_ptr<ObjectServer> server = [] {
    const auto python = TestPython();
    return python.has_value() ? ObjectServer::Start("moto", *python) : nullptr;
  }();
  return server.get();
}

std::unique_ptr<S3Client> ClientOf(const std::string& endpoint, const std::string& credentials_file) {
  auto client = S3Client::Create({.endpoint = endpoint,
                                  .path_style = true,
                                  .credentials_file = credentials_file,
                                  .retry = {.attempts = 3, .first_pause = absl::Milliseconds(1)}});
  EXPECT_OK(client);
  return client.ok() ? *std::move(client) : nullptr;
}

std::string AnyCredentials() {
  const std::string path = JoinPath(MakeTempDir(), "credentials");
  EXPECT_OK(WriteFileDurably(RealFileSystem(), path, "aws_access_key_id=a\naws_secret_access_key=b\n"));
  return path;
}

}  // namespace

std::string KindName(const testing::TestParamInfo<StoreKind>& row) {
  switch (row.param) {
    case StoreKind::kDirectory:
      return "Directory";
    case StoreKind::kMemoryS3:
      return "MemoryS3";
    case StoreKind::kMoto:
      return "Moto";
  }
  return "Unknown";
}

StorePlace::StorePlace(StoreKind kind, FileSystem& files, std::string directory)
    : kind_(kind), files_(files), directory_(std::move(directory)) {
  // A part of the bucket for each test.
  s3_ = {.root = {"artifacts", BaseName(directory_)}};
  if (kind == StoreKind::kMemoryS3) {
    memory_ = std::make_unique<MemoryS3>();
    client_ = ClientOf(memory_->url(), AnyCredentials());
  } else if (kind == StoreKind::kMoto) {
    ObjectServer* server = SharedMoto();
    if (server != nullptr) client_ = ClientOf(server->endpoint(), server->credentials_file());
    if (server == nullptr) obstacle_ = "SKIPPED: there is no build/test-venv; run scripts/test-venv to run this test";
  }
}

absl::StatusOr<std::unique_ptr<ArtifactStore>> StorePlace::Open() {
  return OpenElsewhere(directory_);
}

absl::StatusOr<std::unique_ptr<ArtifactStore>> StorePlace::OpenElsewhere(const std::string& directory) {
  if (kind_ == StoreKind::kDirectory) return OpenDirectoryArtifactStore(files_, directory);
  return OpenS3ArtifactStore(files_, directory, *client_, s3_);
}

std::vector<std::string> StorePlace::Staged(const std::string& folder) {
  std::set<std::string> names;
  const auto local = files_.ListDirectory(absl::StrCat(directory_, "/staging", folder));
  if (local.ok()) names.insert(local->begin(), local->end());
  if (client_ != nullptr) {
    const auto remote = client_->ListFolders(s3_.root.Below(absl::StrCat("staging", folder, "/")));
    EXPECT_OK(remote);
    if (remote.ok()) names.insert(remote->begin(), remote->end());
  }
  return {names.begin(), names.end()};
}

}  // namespace quantd
