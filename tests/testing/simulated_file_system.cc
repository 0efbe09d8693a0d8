#include "tests/testing/simulated_file_system.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

class SimulatedFile : public WritableFile {
 public:
  SimulatedFile(SimulatedDisk& disk, std::unique_ptr<WritableFile> real, std::string path)
      : disk_(disk), node_(disk.Opened(path)), real_(std::move(real)), path_(std::move(path)) {}

  absl::Status Append(absl::string_view bytes) override {
    const SimulatedDisk::Verdict verdict = disk_.Next(DiskOperation::kWrite, path_);
    if (verdict.error_number != 0) bytes = bytes.substr(0, verdict.short_write ? bytes.size() / 2 : 0);
    RETURN_IF_ERROR(real_->Append(bytes));
    disk_.Appended(node_, bytes);
    return verdict.error_number == 0 ? absl::OkStatus()
                                     : ErrnoError(verdict.error_number, absl::StrCat("writing ", path_));
  }
  absl::Status Sync() override {
    const int error_number = disk_.Next(DiskOperation::kSync, path_).error_number;
    if (error_number != 0) {
      disk_.SyncFailed(node_);
      return ErrnoError(error_number, absl::StrCat("syncing ", path_));
    }
    disk_.Synced(node_);
    return absl::OkStatus();
  }
  absl::Status Close() override {
    const int error_number = disk_.Next(DiskOperation::kClose, path_).error_number;
    RETURN_IF_ERROR(real_->Close());
    return error_number == 0 ? absl::OkStatus() : ErrnoError(error_number, absl::StrCat("closing ", path_));
  }
  void Truncated() { disk_.Truncated(node_, 0); }

 private:
  SimulatedDisk& disk_;
  const SimulatedDisk::NodePtr node_;
  const std::unique_ptr<WritableFile> real_;
  const std::string path_;
};

}  // namespace

absl::Status SimulatedFileSystem::Next(DiskOperation operation, const std::string& path, const std::string& action) {
  const int error_number = disk_.Next(operation, path).error_number;
  return error_number == 0 ? absl::OkStatus() : ErrnoError(error_number, action);
}

absl::StatusOr<std::unique_ptr<WritableFile>> SimulatedFileSystem::OpenForWrite(const std::string& path) {
  RETURN_IF_ERROR(Next(DiskOperation::kCreate, path, absl::StrCat("creating ", path)));
  ASSIGN_OR_RETURN(auto real, real_.OpenForWrite(path));
  auto file = std::make_unique<SimulatedFile>(disk_, std::move(real), path);
  file->Truncated();
  return std::unique_ptr<WritableFile>(std::move(file));
}

absl::StatusOr<std::unique_ptr<WritableFile>> SimulatedFileSystem::OpenForAppend(const std::string& path) {
  RETURN_IF_ERROR(Next(DiskOperation::kCreate, path, absl::StrCat("opening ", path)));
  ASSIGN_OR_RETURN(auto real, real_.OpenForAppend(path));
  return std::unique_ptr<WritableFile>(std::make_unique<SimulatedFile>(disk_, std::move(real), path));
}

absl::Status SimulatedFileSystem::CreateDirectories(const std::string& path) {
  RETURN_IF_ERROR(Next(DiskOperation::kCreate, path, absl::StrCat("creating directory ", path)));
  RETURN_IF_ERROR(real_.CreateDirectories(path));
  disk_.MadeDirectories(path);
  return absl::OkStatus();
}

absl::Status SimulatedFileSystem::Rename(const std::string& from, const std::string& to) {
  RETURN_IF_ERROR(Next(DiskOperation::kRename, to, absl::StrCat("renaming ", from, " to ", to)));
  RETURN_IF_ERROR(real_.Rename(from, to));
  disk_.Renamed(from, to);
  return absl::OkStatus();
}

absl::Status SimulatedFileSystem::SyncDirectory(const std::string& path) {
  RETURN_IF_ERROR(Next(DiskOperation::kSyncDirectory, path, absl::StrCat("syncing directory ", path)));
  disk_.SyncedDirectory(path);
  return absl::OkStatus();
}

absl::Status SimulatedFileSystem::RemoveFile(const std::string& path) {
  RETURN_IF_ERROR(Next(DiskOperation::kRemove, path, absl::StrCat("removing ", path)));
  RETURN_IF_ERROR(real_.RemoveFile(path));
  disk_.Removed(path);
  return absl::OkStatus();
}

absl::Status SimulatedFileSystem::RemoveAll(const std::string& path) {
  RETURN_IF_ERROR(Next(DiskOperation::kRemove, path, absl::StrCat("removing ", path)));
  RETURN_IF_ERROR(real_.RemoveAll(path));
  disk_.Removed(path);
  return absl::OkStatus();
}

}  // namespace quantd
