#include "tests/testing/faulty_file_system.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

class FaultyFile : public WritableFile {
 public:
  FaultyFile(FaultyFileSystem& files, std::unique_ptr<WritableFile> real, std::string path)
      : files_(files), real_(std::move(real)), path_(std::move(path)) {}

  absl::Status Append(absl::string_view bytes) override {
    const absl::Status fault = files_.Next(absl::StrCat("writing ", path_));
    if (fault.ok()) return real_->Append(bytes);
    (void)real_->Append(bytes.substr(0, bytes.size() / 2));
    return fault;
  }
  absl::Status Sync() override {
    RETURN_IF_ERROR(files_.Next(absl::StrCat("syncing ", path_)));
    return real_->Sync();
  }
  absl::Status Close() override {
    const absl::Status fault = files_.Next(absl::StrCat("closing ", path_));
    const absl::Status closed = real_->Close();
    return fault.ok() ? closed : fault;
  }

 private:
  FaultyFileSystem& files_;
  const std::unique_ptr<WritableFile> real_;
  const std::string path_;
};

}  // namespace

void FaultyFileSystem::FailAt(int at, int error_number, bool for_good) {
  next_ = 0;
  fail_at_ = at;
  error_number_ = error_number;
  for_good_ = for_good;
}

absl::Status FaultyFileSystem::Next(const std::string& action) {
  const int number = next_++;
  const bool fails = fail_at_ >= 0 && (number == fail_at_ || (for_good_ && number > fail_at_));
  return fails ? ErrnoError(error_number_, action) : absl::OkStatus();
}

absl::StatusOr<std::string> FaultyFileSystem::ReadFile(const std::string& path, uint64_t max_bytes) {
  return real_.ReadFile(path, max_bytes);
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> FaultyFileSystem::OpenForRead(const std::string& path) {
  return real_.OpenForRead(path);
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultyFileSystem::OpenForWrite(const std::string& path) {
  RETURN_IF_ERROR(Next(absl::StrCat("creating ", path)));
  ASSIGN_OR_RETURN(auto file, real_.OpenForWrite(path));
  return std::unique_ptr<WritableFile>(std::make_unique<FaultyFile>(*this, std::move(file), path));
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultyFileSystem::OpenForAppend(const std::string& path) {
  RETURN_IF_ERROR(Next(absl::StrCat("opening ", path)));
  ASSIGN_OR_RETURN(auto file, real_.OpenForAppend(path));
  return std::unique_ptr<WritableFile>(std::make_unique<FaultyFile>(*this, std::move(file), path));
}

absl::Status FaultyFileSystem::CreateDirectories(const std::string& path) {
  RETURN_IF_ERROR(Next(absl::StrCat("creating directory ", path)));
  return real_.CreateDirectories(path);
}

absl::Status FaultyFileSystem::Rename(const std::string& from, const std::string& to) {
  RETURN_IF_ERROR(Next(absl::StrCat("renaming ", from, " to ", to)));
  return real_.Rename(from, to);
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& path) {
  RETURN_IF_ERROR(Next(absl::StrCat("syncing directory ", path)));
  return real_.SyncDirectory(path);
}

absl::Status FaultyFileSystem::RemoveFile(const std::string& path) {
  RETURN_IF_ERROR(Next(absl::StrCat("removing ", path)));
  return real_.RemoveFile(path);
}

absl::Status FaultyFileSystem::RemoveAll(const std::string& path) {
  RETURN_IF_ERROR(Next(absl::StrCat("removing ", path)));
  return real_.RemoveAll(path);
}

absl::StatusOr<std::vector<std::string>> FaultyFileSystem::ListDirectory(const std::string& path) {
  return real_.ListDirectory(path);
}

absl::StatusOr<uint64_t> FaultyFileSystem::FreeBytes(const std::string& path) {
  if (free_bytes_.has_value()) return *free_bytes_;
  return real_.FreeBytes(path);
}

}  // namespace quantd
