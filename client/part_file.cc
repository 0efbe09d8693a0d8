#include "client/part_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/status.h"

namespace quantd {
namespace {

constexpr uint64_t kBlockBytes = 1 << 20;

absl::Status HashFile(const RandomAccessFile& file, Sha256& hash) {
  std::vector<char> block(kBlockBytes);
  for (uint64_t offset = 0; offset < file.size_bytes();) {
    const uint64_t size = std::min(kBlockBytes, file.size_bytes() - offset);
    RETURN_IF_ERROR(file.Read(offset, absl::MakeSpan(block.data(), size)));
    hash.Update({block.data(), size});
    offset += size;
  }
  return absl::OkStatus();
}

// A destination without a folder is in the working directory.
std::string FolderOf(const std::string& path) {
  const std::string folder = DirectoryName(path);
  return folder.empty() ? "." : folder;
}

}  // namespace

PartFile::PartFile(FileSystem& files, std::string destination)
    : files_(files),
      destination_(std::move(destination)),
      part_path_(destination_ + ".part"),
      hash_(std::make_unique<Sha256>()) {}

absl::Status PartFile::Open(int64_t size_limit_bytes) {
  RETURN_IF_ERROR(files_.CreateDirectories(FolderOf(destination_)));
  if (!files_.Exists(part_path_)) return StartOver();
  ASSIGN_OR_RETURN(const uint64_t there, files_.FileSize(part_path_));
  if (there > static_cast<uint64_t>(size_limit_bytes)) return StartOver();
  {
    ASSIGN_OR_RETURN(const auto existing, files_.OpenForRead(part_path_));
    RETURN_IF_ERROR(HashFile(*existing, *hash_));
  }
  size_bytes_ = static_cast<int64_t>(there);
  ASSIGN_OR_RETURN(file_, files_.OpenForAppend(part_path_));
  return absl::OkStatus();
}

absl::Status PartFile::StartOver() {
  file_.reset();
  hash_ = std::make_unique<Sha256>();
  size_bytes_ = 0;
  ASSIGN_OR_RETURN(file_, files_.OpenForWrite(part_path_));
  return absl::OkStatus();
}

absl::Status PartFile::Append(absl::string_view bytes) {
  RETURN_IF_ERROR(file_->Append(bytes));
  hash_->Update(bytes);
  size_bytes_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status PartFile::Commit() {
  RETURN_IF_ERROR(file_->Sync());
  RETURN_IF_ERROR(file_->Close());
  RETURN_IF_ERROR(files_.Rename(part_path_, destination_));
  return files_.SyncDirectory(FolderOf(destination_));
}

absl::Status PartFile::Discard() {
  file_.reset();
  return files_.RemoveFile(part_path_);
}

}  // namespace quantd
