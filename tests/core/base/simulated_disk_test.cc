// What a simulated power failure takes and what it leaves.
#include "tests/testing/simulated_disk.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <set>

#include "core/base/file_system.h"
#include "tests/testing/simulated_file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr uint64_t kSeeds = 60;

// What `read` finds after `work` and a power failure, over all seeds.
std::set<std::string> Outcomes(const std::function<void(FileSystem&, const std::string&)>& work,
                               const std::function<std::string(const std::string&)>& read) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimulatedDisk disk(MakeMemoryDir());
    SimulatedFileSystem files(disk);
    work(files, disk.root());
    disk.LosePower(seed);
    outcomes.insert(read(disk.root()));
  }
  return outcomes;
}

std::string Content(const std::string& path) {
  const auto bytes = RealFileSystem().ReadFile(path, 1 << 20);
  return bytes.ok() ? *bytes : "absent";
}

void Write(FileSystem& files, const std::string& path, const std::string& bytes, bool sync) {
  ASSERT_OK_AND_ASSIGN(const auto file, files.OpenForWrite(path));
  ASSERT_OK(file->Append(bytes));
  if (sync) {
    ASSERT_OK(file->Sync());
  }
  ASSERT_OK(file->Close());
}

TEST(SimulatedDisk, WholeFilesWrittenDurablyAreAlwaysThere) {
  const auto work = [](FileSystem& files, const std::string& root) {
    ASSERT_OK(WriteFileDurably(files, root + "/a", "old"));
    ASSERT_OK(WriteFileDurably(files, root + "/a", "new"));
  };
  EXPECT_THAT(Outcomes(work, [](const std::string& root) { return Content(root + "/a"); }),
              testing::ElementsAre("new"));
}

TEST(SimulatedDisk, UnsyncedBytesAndNamesMayBeThereOrNot) {
  const auto content = [](const std::string& root) { return Content(root + "/a"); };
  const auto unsynced = [](FileSystem& files, const std::string& root) { Write(files, root + "/a", "bytes", false); };
  EXPECT_THAT(Outcomes(unsynced, content), testing::UnorderedElementsAre("absent", "", "bytes"));
  const auto no_folder_sync = [](FileSystem& files, const std::string& root) {
    Write(files, root + "/a", "bytes", true);
  };
  EXPECT_THAT(Outcomes(no_folder_sync, content), testing::UnorderedElementsAre("absent", "bytes"));
}

TEST(SimulatedDisk, RenameHappensWholeOrNotAtAll) {
  const auto work = [](FileSystem& files, const std::string& root) {
    ASSERT_OK(WriteFileDurably(files, root + "/a", "A"));
    ASSERT_OK(WriteFileDurably(files, root + "/b", "B"));
    ASSERT_OK(files.Rename(root + "/a", root + "/b"));
  };
  const auto both = [](const std::string& root) { return Content(root + "/a") + " " + Content(root + "/b"); };
  EXPECT_THAT(Outcomes(work, both), testing::UnorderedElementsAre("A B", "absent A"));
}

TEST(SimulatedDisk, UnsyncedRemovalMayComeBack) {
  const auto work = [](FileSystem& files, const std::string& root) {
    ASSERT_OK(WriteFileDurably(files, root + "/a", "A"));
    ASSERT_OK(files.RemoveFile(root + "/a"));
  };
  EXPECT_THAT(Outcomes(work, [](const std::string& root) { return Content(root + "/a"); }),
              testing::UnorderedElementsAre("A", "absent"));
}

TEST(SimulatedDisk, FileInAFolderThatIsNotSyncedGoesWithIt) {
  const auto work = [](FileSystem& files, const std::string& root) {
    ASSERT_OK(files.CreateDirectories(root + "/x/y"));
    ASSERT_OK(WriteFileDurably(files, root + "/x/y/a", "A"));
  };
  EXPECT_THAT(Outcomes(work, [](const std::string& root) { return Content(root + "/x/y/a"); }),
              testing::UnorderedElementsAre("A", "absent"));
}

TEST(SimulatedDisk, LastPageIsTornAtASector) {
  const auto work = [](FileSystem& files, const std::string& root) {
    ASSERT_OK(WriteFileDurably(files, root + "/a", ""));
    ASSERT_OK_AND_ASSIGN(const auto file, files.OpenForAppend(root + "/a"));
    ASSERT_OK(file->Append(std::string(4096, 'x')));
    ASSERT_OK(file->Close());
  };
  const auto outcomes = Outcomes(work, [](const std::string& root) { return Content(root + "/a"); });
  EXPECT_EQ(outcomes.count(std::string(4096, 'x')), 1u);
  EXPECT_GT(outcomes.size(), 3u) << "nothing was torn";
  for (const std::string& outcome : outcomes) EXPECT_EQ(outcome.size() % 512, 0u);
}

// As Linux does: pages of a failed sync are clean afterwards, and gone.
TEST(SimulatedDisk, SecondSyncDoesNotSaveBytesOfAFailedOne) {
  SimulatedDisk disk(MakeMemoryDir());
  SimulatedFileSystem files(disk);
  ASSERT_OK(WriteFileDurably(files, disk.root() + "/a", "old "));
  ASSERT_OK_AND_ASSIGN(const auto file, files.OpenForAppend(disk.root() + "/a"));
  ASSERT_OK(file->Append("new"));
  disk.SetFault({.at = 0, .error_number = EIO, .only = {DiskOperation::kSync}});
  EXPECT_THAT(file->Sync(), FailsWith("IO_ERROR", "syncing"));
  EXPECT_OK(file->Sync());
  EXPECT_EQ(Content(disk.root() + "/a"), "old new") << "programs still read it";
  disk.LosePower(0);
  EXPECT_EQ(Content(disk.root() + "/a"), "old ");
}

TEST(SimulatedDisk, FaultsStrikeWhereToldAndShortWritesWriteHalf) {
  SimulatedDisk disk(MakeMemoryDir());
  SimulatedFileSystem files(disk);
  disk.SetFault({.at = 1, .error_number = ENOSPC, .short_write = true});
  ASSERT_OK_AND_ASSIGN(const auto file, files.OpenForWrite(disk.root() + "/a"));
  EXPECT_FALSE(disk.failed());
  EXPECT_THAT(file->Append("12345678"), FailsWith("DISK_FULL", "/a"));
  EXPECT_TRUE(disk.failed());
  EXPECT_EQ(Content(disk.root() + "/a"), "1234");
  EXPECT_OK(file->Close());
  EXPECT_EQ(disk.operations(), 3);
}

}  // namespace
}  // namespace quantd
