// Files on a simulated disk (simulated_disk.h): every operation that changes the disk may be told to fail, and what is
// not synced may get lost. Paths outside the disk are an error.
#ifndef QUANTD_TESTS_TESTING_SIMULATED_FILE_SYSTEM_H_
#define QUANTD_TESTS_TESTING_SIMULATED_FILE_SYSTEM_H_

#include <memory>
#include <string>
#include <vector>

#include "core/base/file_system.h"
#include "tests/testing/simulated_disk.h"

namespace quantd {

class SimulatedFileSystem : public FileSystem {
 public:
  explicit SimulatedFileSystem(SimulatedDisk& disk) : disk_(disk) {}

  absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) override {
    return real_.ReadFile(path, max_bytes);
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override {
    return real_.OpenForRead(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveAll(const std::string& path) override;
  bool Exists(const std::string& path) override { return real_.Exists(path); }
  bool IsDirectory(const std::string& path) override { return real_.IsDirectory(path); }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override { return real_.FileSize(path); }
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) override {
    return real_.ListDirectory(path);
  }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override { return real_.FreeBytes(path); }

 private:
  absl::Status Next(DiskOperation operation, const std::string& path, const std::string& action);

  SimulatedDisk& disk_;
  FileSystem& real_ = RealFileSystem();
};

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_SIMULATED_FILE_SYSTEM_H_
