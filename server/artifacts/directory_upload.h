// One file on its way into the staging area of the directory store.
#ifndef QUANTD_SERVER_ARTIFACTS_DIRECTORY_UPLOAD_H_
#define QUANTD_SERVER_ARTIFACTS_DIRECTORY_UPLOAD_H_

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "server/artifacts/artifact_store.h"

namespace quantd {

// Of a file that is not complete.
inline constexpr absl::string_view kPartSuffix = ".part";

// Files that a stream is writing now, so that two streams never mix their bytes. Thread-safe.
class BusyFiles {
 public:
  bool Take(const std::string& path) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return paths_.insert(path).second;
  }
  void Release(const std::string& path) {
    const std::lock_guard<std::mutex> lock(mutex_);
    paths_.erase(path);
  }

 private:
  std::mutex mutex_;
  std::set<std::string> paths_;  // guarded by mutex_
};

// Holds a path of BusyFiles for as long as it lives.
class BusyFile {
 public:
  BusyFile(std::shared_ptr<BusyFiles> files, std::string path) : files_(std::move(files)), path_(std::move(path)) {}
  BusyFile(const BusyFile&) = delete;
  BusyFile& operator=(const BusyFile&) = delete;
  ~BusyFile() { files_->Release(path_); }

 private:
  std::shared_ptr<BusyFiles> files_;
  std::string path_;
};

class DirectoryUpload : public ArtifactUpload {
 public:
  // `received_bytes` are in the part file already.
  DirectoryUpload(FileSystem& files, v1::ArtifactFile file, std::string final_path, int64_t received_bytes);

  // Opens the part file. `busy` is released when the upload ends.
  absl::Status Start(std::unique_ptr<BusyFile> busy, bool from_zero);

  absl::Status Append(absl::string_view bytes) override;
  absl::Status Finish() override;
  int64_t received_bytes() const override { return received_bytes_; }

 private:
  absl::Status SyncAndClose();
  absl::Status CheckDigest();

  FileSystem& files_;
  const v1::ArtifactFile file_;
  const std::string final_path_;
  const std::string part_path_;
  int64_t received_bytes_;
  std::unique_ptr<BusyFile> busy_;
  std::unique_ptr<WritableFile> stream_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_DIRECTORY_UPLOAD_H_
