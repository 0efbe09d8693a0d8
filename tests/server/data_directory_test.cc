#include "server/store/data_directory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

TEST(DataDirectory, IsHeldByOneAtATime) {
  const std::string path = MakeTempDir() + "/data";
  {
    ASSERT_OK_AND_ASSIGN(const DataDirectory first, DataDirectory::Open(path));
    EXPECT_THAT(DataDirectory::Open(path), FailsWith("DATA_DIRECTORY_LOCKED", absl::StrCat("process ", getpid())));
  }
  EXPECT_OK(DataDirectory::Open(path));
}

TEST(DataDirectory, MustBeADirectory) {
  const std::string path = MakeTempDir() + "/file";
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, "x"));
  EXPECT_THAT(DataDirectory::Open(path), FailsWith("DATA_DIRECTORY_UNUSABLE", "--data-dir"));
}

}  // namespace
}  // namespace quantd
