// A file system whose operations can be told to fail, one by one, as a full or broken disk would.
//
// Operations are those that change the disk: opening for writing, append, sync, close, creating, renaming, removing,
// syncing a directory. They are numbered from 0 since the last FailAt(). A failing append writes half of its bytes; a
// failing close closes; any other failing operation does nothing.
#ifndef QUANTD_TESTS_TESTING_FAULTY_FILE_SYSTEM_H_
#define QUANTD_TESTS_TESTING_FAULTY_FILE_SYSTEM_H_

#include <atomic>
#include <optional>
#include <string>

#include "core/base/file_system.h"

namespace quantd {

// Thread-safe, apart from FailAt, Heal and SetFreeBytes.
class FaultyFileSystem : public FileSystem {
 public:
  explicit FaultyFileSystem(FileSystem& real) : real_(real) {}

  // Operation `at` fails with this errno, and with `for_good` all after it too.
  void FailAt(int at, int error_number, bool for_good);
  void Heal() { FailAt(-1, 0, false); }
  // Operations since FailAt(), the failed ones included.
  int operations() const { return next_; }
  void SetFreeBytes(uint64_t bytes) { free_bytes_ = bytes; }

  absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) override;
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveAll(const std::string& path) override;
  bool Exists(const std::string& path) override { return real_.Exists(path); }
  bool IsDirectory(const std::string& path) override { return real_.IsDirectory(path); }
  absl::StatusOr<absl::Duration> FileAge(const std::string& path) override { return real_.FileAge(path); }
  absl::Status Touch(const std::string& path) override { return real_.Touch(path); }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override { return real_.FileSize(path); }
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override;

  // Counts one operation; its failure, if it is to fail.
  absl::Status Next(const std::string& action);

 private:
  FileSystem& real_;
  std::atomic<int> next_{0};
  int fail_at_ = -1;
  int error_number_ = 0;
  bool for_good_ = false;
  std::optional<uint64_t> free_bytes_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_FAULTY_FILE_SYSTEM_H_
