#include "core/base/file_system.h"

#include <cerrno>
#include <filesystem>

#include "core/base/status.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

FileSystem& files = RealFileSystem();

std::string Contents(const std::string& path) {
  const auto bytes = files.ReadFile(path, 1 << 20);
  return bytes.ok() ? *bytes : bytes.status().ToString();
}

TEST(FileSystem, WritesAppendsAndReads) {
  const std::string path = JoinPath(MakeTempDir(), "f");
  ASSERT_OK_AND_ASSIGN(auto file, files.OpenForWrite(path));
  ASSERT_OK(file->Append("one"));
  ASSERT_OK(file->Sync());
  ASSERT_OK(file->Close());
  ASSERT_OK_AND_ASSIGN(file, files.OpenForAppend(path));
  ASSERT_OK(file->Append("two"));
  ASSERT_OK(file->Close());
  EXPECT_EQ(Contents(path), "onetwo");
  EXPECT_EQ(*files.FileSize(path), 6u);
  ASSERT_OK_AND_ASSIGN(file, files.OpenForWrite(path));
  ASSERT_OK(file->Close());
  EXPECT_EQ(Contents(path), "") << "opening for writing truncates";
}

TEST(FileSystem, ReadsExactlyWhatIsThere) {
  const std::string path = JoinPath(MakeTempDir(), "f");
  ASSERT_OK(WriteFileDurably(files, path, "0123456789"));
  ASSERT_OK_AND_ASSIGN(const auto file, files.OpenForRead(path));
  EXPECT_EQ(file->size_bytes(), 10u);
  char buffer[4];
  ASSERT_OK(file->Read(6, absl::MakeSpan(buffer)));
  EXPECT_EQ(std::string(buffer, 4), "6789");
  EXPECT_EQ(file->Read(7, absl::MakeSpan(buffer)).code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(files.ReadFile(path, 9), FailsWith("FILE_TOO_LARGE", "limit is 9"));
}

TEST(FileSystem, ErrorsNameThePath) {
  const std::string absent = JoinPath(MakeTempDir(), "absent");
  EXPECT_THAT(files.OpenForRead(absent), FailsWith("FILE_NOT_FOUND", absent));
  EXPECT_THAT(files.FileSize(absent), FailsWith("FILE_NOT_FOUND", absent));
  EXPECT_THAT(files.ListDirectory(absent), FailsWith("FILE_NOT_FOUND", absent));
  EXPECT_THAT(files.RemoveFile(absent), FailsWith("FILE_NOT_FOUND", absent));
  EXPECT_THAT(files.OpenForWrite(JoinPath(absent, "x")), FailsWith("FILE_NOT_FOUND", absent));
  EXPECT_THAT(files.OpenForRead("/dev/null"), FailsWith("NOT_A_REGULAR_FILE", "/dev/null"));
  EXPECT_THAT(MappedFile::Open(absent), FailsWith("FILE_NOT_FOUND", absent));
  EXPECT_OK(files.RemoveAll(absent)) << "what is absent need not be removed";
}

TEST(FileSystem, ListsSortedNames) {
  const std::string folder = MakeTempDir();
  for (const char* name : {"b", "a", "c"}) ASSERT_OK(WriteFileDurably(files, JoinPath(folder, name), ""));
  ASSERT_OK(files.CreateDirectories(JoinPath(folder, "d/e")));
  EXPECT_THAT(*files.ListDirectory(folder), ElementsAre("a", "b", "c", "d"));
  EXPECT_TRUE(files.IsDirectory(JoinPath(folder, "d/e")));
  ASSERT_OK(files.RemoveAll(JoinPath(folder, "d")));
  EXPECT_FALSE(files.Exists(JoinPath(folder, "d")));
}

TEST(FileSystem, AFullDiskIsRecognised) {
  if (!files.Exists("/dev/full")) GTEST_SKIP() << "SKIPPED: this system has no /dev/full";
  ASSERT_OK_AND_ASSIGN(const auto file, files.OpenForWrite("/dev/full"));
  const absl::Status status = file->Append("x");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status, FailsWith("DISK_FULL", "free some space"));
}

TEST(ErrnoError, MapsToReasons) {
  EXPECT_THAT(ErrnoError(ENOSPC, "writing x"), FailsWith("DISK_FULL", "writing x"));
  EXPECT_THAT(ErrnoError(EDQUOT, "writing x"), FailsWith("DISK_FULL", "writing x"));
  EXPECT_THAT(ErrnoError(ENOENT, "opening x"), FailsWith("FILE_NOT_FOUND", "opening x"));
  EXPECT_THAT(ErrnoError(EIO, "reading x"), FailsWith("IO_ERROR", "reading x"));
  EXPECT_THAT(ErrnoError(EACCES, "opening x"), FailsWith("IO_ERROR", "denied"));
}

TEST(WriteFileDurably, ReplacesAndLeavesNoTemporaryFile) {
  const std::string folder = MakeTempDir();
  const std::string path = JoinPath(folder, "f");
  ASSERT_OK(WriteFileDurably(files, path, "old"));
  ASSERT_OK(WriteFileDurably(files, path, "new"));
  EXPECT_EQ(Contents(path), "new");
  EXPECT_THAT(*files.ListDirectory(folder), ElementsAre("f"));
}

// Passes everything on, but fails the named step.
class FailingFiles : public FileSystem {
 public:
  enum Step { kAppend, kSync, kRename };
  explicit FailingFiles(Step step) : step_(step) {}

  absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max) override {
    return files.ReadFile(path, max);
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override {
    return files.OpenForRead(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path) override {
    ASSIGN_OR_RETURN(auto file, files.OpenForWrite(path));
    return std::unique_ptr<WritableFile>(std::make_unique<FailingFile>(step_, std::move(file)));
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(const std::string& path) override {
    return files.OpenForAppend(path);
  }
  absl::Status CreateDirectories(const std::string& path) override { return files.CreateDirectories(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return step_ == kRename ? ErrnoError(EIO, "renaming") : files.Rename(from, to);
  }
  absl::Status SyncDirectory(const std::string& path) override { return files.SyncDirectory(path); }
  absl::Status RemoveFile(const std::string& path) override { return files.RemoveFile(path); }
  absl::Status RemoveAll(const std::string& path) override { return files.RemoveAll(path); }
  bool Exists(const std::string& path) override { return files.Exists(path); }
  bool IsDirectory(const std::string& path) override { return files.IsDirectory(path); }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override { return files.FileSize(path); }
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) override {
    return files.ListDirectory(path);
  }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override { return files.FreeBytes(path); }

 private:
  class FailingFile : public WritableFile {
   public:
    FailingFile(Step step, std::unique_ptr<WritableFile> file) : step_(step), file_(std::move(file)) {}
    absl::Status Append(absl::string_view bytes) override {
      return step_ == kAppend ? ErrnoError(ENOSPC, "writing") : file_->Append(bytes);
    }
    absl::Status Sync() override { return step_ == kSync ? ErrnoError(EIO, "syncing") : file_->Sync(); }
    absl::Status Close() override { return file_->Close(); }

   private:
    Step step_;
    std::unique_ptr<WritableFile> file_;
  };
  Step step_;
};

TEST(WriteFileDurably, AnErrorLeavesTheOldContent) {
  for (const auto step : {FailingFiles::kAppend, FailingFiles::kSync, FailingFiles::kRename}) {
    const std::string folder = MakeTempDir();
    const std::string path = JoinPath(folder, "f");
    ASSERT_OK(WriteFileDurably(files, path, "old"));
    FailingFiles failing(step);
    EXPECT_FALSE(WriteFileDurably(failing, path, "new").ok());
    EXPECT_EQ(Contents(path), "old") << "step " << step;
    EXPECT_THAT(*files.ListDirectory(folder), ElementsAre("f")) << "step " << step;
  }
}

TEST(MappedFile, ShowsTheBytesAlsoAfterRelease) {
  const std::string path = JoinPath(MakeTempDir(), "f");
  std::string bytes(100'000, 'x');
  bytes[50'000] = 'y';
  ASSERT_OK(WriteFileDurably(files, path, bytes));
  ASSERT_OK_AND_ASSIGN(MappedFile mapped, MappedFile::Open(path));
  const MappedFile moved = std::move(mapped);
  for (int repeat = 0; repeat < 2; ++repeat) {
    EXPECT_EQ(std::string(moved.bytes().begin(), moved.bytes().end()), bytes);
    moved.Release(0, bytes.size());
    moved.Release(99'999, 1'000'000);
  }
  ASSERT_OK(WriteFileDurably(files, path, ""));
  ASSERT_OK_AND_ASSIGN(const MappedFile empty, MappedFile::Open(path));
  EXPECT_TRUE(empty.bytes().empty());
}

TEST(Paths, AreSplitAndJoined) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(BaseName("a/b"), "b");
  EXPECT_EQ(BaseName("b"), "b");
  EXPECT_EQ(DirectoryName("a/b"), "a");
  EXPECT_EQ(DirectoryName("/b"), "/");
  EXPECT_EQ(DirectoryName("b"), ".");
}

class ResolveBelowTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(files.CreateDirectories(JoinPath(root_, "models/llama")));
    ASSERT_OK(files.CreateDirectories(outside_));
    ASSERT_OK(WriteFileDurably(files, JoinPath(outside_, "secret"), "s"));
    std::filesystem::create_symlink(outside_, JoinPath(root_, "out"));
    std::filesystem::create_symlink("../outside/secret", JoinPath(root_, "relative_out"));
    std::filesystem::create_symlink("models", JoinPath(root_, "inside"));
    std::filesystem::create_symlink("nowhere", JoinPath(root_, "dangling"));
    std::filesystem::create_symlink("loop", JoinPath(root_, "loop"));
  }
  const std::string base_ = std::filesystem::canonical(MakeTempDir()).string();
  const std::string root_ = JoinPath(base_, "root");
  const std::string outside_ = JoinPath(base_, "outside");
};

TEST_F(ResolveBelowTest, FindsWhatIsInside) {
  EXPECT_EQ(*ResolveBelow(root_, "models/llama"), JoinPath(root_, "models/llama"));
  EXPECT_EQ(*ResolveBelow(root_, "inside/llama"), JoinPath(root_, "models/llama")) << "links inside are followed";
  EXPECT_EQ(*ResolveBelow(JoinPath(root_, "inside"), "llama"), JoinPath(root_, "models/llama"))
      << "the root may be a link itself";
}

TEST_F(ResolveBelowTest, RefusesEveryWayOut) {
  EXPECT_THAT(ResolveBelow(root_, ".."), FailsWith("PATH_ESCAPES_ROOT", "'..'"));
  EXPECT_THAT(ResolveBelow(root_, "../outside/secret"), FailsWith("PATH_ESCAPES_ROOT", "../outside"));
  EXPECT_THAT(ResolveBelow(root_, "models/../../outside"), FailsWith("PATH_ESCAPES_ROOT", "models/.."));
  EXPECT_THAT(ResolveBelow(root_, "models/.."), FailsWith("PATH_ESCAPES_ROOT", "models/.."));
  EXPECT_THAT(ResolveBelow(root_, "out"), FailsWith("PATH_ESCAPES_ROOT", "'out'"));
  EXPECT_THAT(ResolveBelow(root_, "out/secret"), FailsWith("PATH_ESCAPES_ROOT", "links must stay inside"));
  EXPECT_THAT(ResolveBelow(root_, "relative_out"), FailsWith("PATH_ESCAPES_ROOT", "relative_out"));
}

TEST_F(ResolveBelowTest, ARootWhoseNameBeginsLikeAnotherIsNotThatOther) {
  const std::string sibling = root_ + "2";
  ASSERT_OK(files.CreateDirectories(sibling));
  std::filesystem::create_symlink(sibling, JoinPath(root_, "sibling"));
  EXPECT_THAT(ResolveBelow(root_, "sibling"), FailsWith("PATH_ESCAPES_ROOT", "sibling"));
}

TEST_F(ResolveBelowTest, RefusesMalformedNames) {
  EXPECT_THAT(ResolveBelow(root_, ""), FailsWith("PATH_INVALID", "empty"));
  EXPECT_THAT(ResolveBelow(root_, "/etc/passwd"), FailsWith("PATH_INVALID", "absolute"));
  EXPECT_THAT(ResolveBelow(root_, "models//llama"), FailsWith("PATH_INVALID", "empty part"));
  EXPECT_THAT(ResolveBelow(root_, "models/"), FailsWith("PATH_INVALID", "empty part"));
  EXPECT_THAT(ResolveBelow(root_, "a\nb"), FailsWith("PATH_INVALID", "control characters"));
  EXPECT_THAT(ResolveBelow(root_, absl::string_view("a\0b", 3)), FailsWith("PATH_INVALID", "control characters"));
  EXPECT_THAT(ResolveBelow(root_, std::string(2000, 'a')), FailsWith("PATH_INVALID", "1024"));
}

TEST_F(ResolveBelowTest, WhatIsNotThere) {
  EXPECT_THAT(ResolveBelow(root_, "absent"), FailsWith("FILE_NOT_FOUND", "absent"));
  EXPECT_THAT(ResolveBelow(root_, "dangling"), FailsWith("FILE_NOT_FOUND", "dangling"));
  EXPECT_FALSE(ResolveBelow(root_, "loop").ok());
  EXPECT_THAT(ResolveBelow(JoinPath(base_, "no_root"), "x"), FailsWith("FILE_NOT_FOUND", "no_root"));
}

}  // namespace
}  // namespace quantd
