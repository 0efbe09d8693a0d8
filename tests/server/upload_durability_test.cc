// What an upload has confirmed must still be there after a power failure: its worker keeps no copy.
#include <gtest/gtest.h>

#include <set>

#include "core/base/file_system.h"
#include "server/artifacts/artifact_store.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// Keeps account of the names that a power failure would lose: made, and their folder not synced since.
class AccountingFileSystem : public FaultyFileSystem {
 public:
  AccountingFileSystem() : FaultyFileSystem(RealFileSystem()) {}

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path) override {
    if (!Exists(path)) unsynced_.insert(path);
    return FaultyFileSystem::OpenForWrite(path);
  }
  absl::Status CreateDirectories(const std::string& path) override {
    for (std::string folder = path; !Exists(folder); folder = DirectoryName(folder)) unsynced_.insert(folder);
    return FaultyFileSystem::CreateDirectories(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    unsynced_.erase(from);
    unsynced_.insert(to);
    return FaultyFileSystem::Rename(from, to);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    for (auto name = unsynced_.begin(); name != unsynced_.end();) {
      name = DirectoryName(*name) == path ? unsynced_.erase(name) : std::next(name);
    }
    return FaultyFileSystem::SyncDirectory(path);
  }

  const std::set<std::string>& unsynced() const { return unsynced_; }

 private:
  std::set<std::string> unsynced_;
};

TEST(UploadDurability, NamesOfConfirmedFilesAndTheirFoldersAreSynced) {
  AccountingFileSystem files;
  ASSERT_OK_AND_ASSIGN(const auto store, OpenDirectoryArtifactStore(files, MakeTempDir()));
  EXPECT_THAT(files.unsynced(), testing::IsEmpty());
  const SmallArtifact small;
  v1::ArtifactFile file = small.artifact.files(0);
  for (const char* path : {"exports/gptq/model.safetensors", "exports/gptq/second.safetensors"}) {
    file.set_path(path);
    ASSERT_OK_AND_ASSIGN(const auto upload, store->BeginUpload({"a", 1}, file, 0));
    ASSERT_OK(upload->Append(small.contents[0]));
    EXPECT_THAT(files.unsynced(), testing::Not(testing::IsEmpty())) << "nothing is confirmed yet";
    ASSERT_OK(upload->Finish());
    EXPECT_THAT(files.unsynced(), testing::IsEmpty());
  }
}

}  // namespace
}  // namespace quantd
