#include <algorithm>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "server/artifacts/artifact_store.h"

namespace quantd {
namespace {

constexpr size_t kDigestNameLength = 64;
constexpr absl::string_view kPartSuffix = ".part";

// Files that a stream is writing now, so that two streams never mix their bytes.
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
  DirectoryUpload(FileSystem& files, v1::ArtifactFile file, std::string final_path, int64_t received_bytes)
      : files_(files),
        file_(std::move(file)),
        final_path_(std::move(final_path)),
        part_path_(absl::StrCat(final_path_, kPartSuffix)),
        received_bytes_(received_bytes) {}

  // `busy` is released when the upload ends.
  absl::Status Start(std::unique_ptr<BusyFile> busy, bool from_zero) {
    busy_ = std::move(busy);
    ASSIGN_OR_RETURN(stream_, from_zero ? files_.OpenForWrite(part_path_) : files_.OpenForAppend(part_path_));
    return absl::OkStatus();
  }

  absl::Status Append(absl::string_view bytes) override {
    if (static_cast<int64_t>(bytes.size()) > file_.size_bytes() - received_bytes_) {
      return InvalidInput("UPLOAD_TOO_LONG", absl::StrFormat("%s: more bytes came than the announced %d", file_.path(),
                                                             file_.size_bytes()));
    }
    RETURN_IF_ERROR(stream_->Append(bytes));
    received_bytes_ += static_cast<int64_t>(bytes.size());
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (received_bytes_ < file_.size_bytes()) return stream_->Close();
    RETURN_IF_ERROR(stream_->Sync());
    RETURN_IF_ERROR(stream_->Close());
    RETURN_IF_ERROR(CheckDigest());
    return files_.Rename(part_path_, final_path_);
  }

  int64_t received_bytes() const override { return received_bytes_; }

 private:
  // Reads the file back: what counts is what is on disk, and a resumed upload was written by several streams.
  absl::Status CheckDigest() {
    ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(part_path_));
    if (digest == file_.sha256()) return absl::OkStatus();
    (void)files_.RemoveFile(part_path_);
    return ReasonError(
        absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
        absl::StrFormat("%s: the bytes that arrived have SHA-256 %s, announced was %s; send it again from "
                        "offset 0",
                        file_.path(), digest, file_.sha256()));
  }

  FileSystem& files_;
  const v1::ArtifactFile file_;
  const std::string final_path_;
  const std::string part_path_;
  int64_t received_bytes_;
  std::unique_ptr<BusyFile> busy_;
  std::unique_ptr<WritableFile> stream_;
};

class DirectoryArtifactStore : public ArtifactStore {
 public:
  DirectoryArtifactStore(FileSystem& files, std::string directory)
      : files_(files),
        directory_(std::move(directory)),
        published_(JoinPath(directory_, "artifacts/sha256")),
        staging_(JoinPath(directory_, "staging")),
        busy_(std::make_shared<BusyFiles>()) {}

  absl::Status Initialize() {
    RETURN_IF_ERROR(files_.CreateDirectories(published_));
    return files_.CreateDirectories(staging_);
  }

  absl::StatusOr<int64_t> UploadOffset(const StagingKey& key, absl::string_view path) override {
    RETURN_IF_ERROR(CheckArtifactPath(path));
    const std::string folder = StagedFolder(key, path);
    if (!files_.IsDirectory(folder)) return 0;
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(folder));
    uint64_t most = 0;
    for (const std::string& name : names) {
      if (absl::StripSuffix(name, kPartSuffix).size() != kDigestNameLength) continue;
      ASSIGN_OR_RETURN(const uint64_t size_bytes, files_.FileSize(JoinPath(folder, name)));
      most = std::max(most, size_bytes);
    }
    return static_cast<int64_t>(most);
  }

  absl::StatusOr<std::unique_ptr<ArtifactUpload>> BeginUpload(const StagingKey& key, const v1::ArtifactFile& file,
                                                              int64_t offset) override {
    RETURN_IF_ERROR(CheckArtifactFile(file));
    const std::string final_path = StagedPath(key, file);
    if (!busy_->Take(final_path)) {
      return ReasonError(absl::StatusCode::kUnavailable, "UPLOAD_IN_PROGRESS",
                         absl::StrFormat("%s: another stream is sending this file; retry", file.path()));
    }
    auto busy = std::make_unique<BusyFile>(busy_, final_path);
    RETURN_IF_ERROR(CheckOffset(final_path, file, offset));
    RETURN_IF_ERROR(CheckSpace(file, offset));
    RETURN_IF_ERROR(files_.CreateDirectories(StagedFolder(key, file.path())));
    auto upload = std::make_unique<DirectoryUpload>(files_, file, final_path, offset);
    if (offset == file.size_bytes() && files_.Exists(final_path)) {
      // Complete already: continue it as a part, which Finish checks and renames once more.
      RETURN_IF_ERROR(files_.Rename(final_path, absl::StrCat(final_path, kPartSuffix)));
    }
    RETURN_IF_ERROR(upload->Start(std::move(busy), /*from_zero=*/offset == 0));
    return std::unique_ptr<ArtifactUpload>(std::move(upload));
  }

  absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) override {
    RETURN_IF_ERROR(CheckManifest(artifact));
    for (const v1::ArtifactFile& file : artifact.files()) {
      if (file.path() != "manifest.json") RETURN_IF_ERROR(PublishFile(key, file));
    }
    // The manifest last: while it is absent, nothing refers to the other files.
    for (const v1::ArtifactFile& file : artifact.files()) {
      if (file.path() == "manifest.json") RETURN_IF_ERROR(PublishFile(key, file));
    }
    return absl::OkStatus();
  }

  absl::Status DropStaging(const StagingKey& key) override {
    const std::string job = JoinPath(staging_, key.job);
    return files_.RemoveAll(key.fence == 0 ? job : JoinPath(job, absl::StrCat(key.fence)));
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(absl::string_view sha256) override {
    const std::string path = PublishedPath(sha256);
    if (sha256.size() == kDigestNameLength && files_.Exists(path)) return files_.OpenForRead(path);
    return ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_FILE_NOT_FOUND",
                       absl::StrFormat("no published file has SHA-256 '%s'", sha256));
  }

  absl::StatusOr<uint64_t> FreeBytes() override { return files_.FreeBytes(directory_); }

 private:
  std::string StagedFolder(const StagingKey& key, absl::string_view path) const {
    return absl::StrCat(staging_, "/", key.job, "/", key.fence, "/", path);
  }
  std::string StagedPath(const StagingKey& key, const v1::ArtifactFile& file) const {
    return JoinPath(StagedFolder(key, file.path()), file.sha256());
  }
  std::string PublishedPath(absl::string_view sha256) const {
    return absl::StrCat(published_, "/", sha256.substr(0, 2), "/", sha256);
  }

  absl::Status CheckOffset(const std::string& final_path, const v1::ArtifactFile& file, int64_t offset) {
    if (offset == 0) return absl::OkStatus();
    const std::string part_path = absl::StrCat(final_path, kPartSuffix);
    uint64_t there = 0;
    for (const std::string& path : {final_path, part_path}) {
      if (files_.Exists(path)) {
        ASSIGN_OR_RETURN(there, files_.FileSize(path));
      }
    }
    if (offset > 0 && static_cast<uint64_t>(offset) == there) return absl::OkStatus();
    return ReasonError(
        absl::StatusCode::kOutOfRange, "UPLOAD_OFFSET_WRONG",
        absl::StrFormat("%s: offset is %d, but %d bytes are there; ask GetUploadOffset", file.path(), offset, there));
  }

  absl::Status CheckSpace(const v1::ArtifactFile& file, int64_t offset) {
    ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeBytes());
    if (static_cast<uint64_t>(std::max<int64_t>(file.size_bytes() - offset, 0)) <= free_bytes) return absl::OkStatus();
    return ReasonError(
        absl::StatusCode::kResourceExhausted, "DISK_FULL",
        absl::StrFormat("%s needs %d bytes, the disk of %s has %d free; free some space or choose another "
                        "data directory",
                        file.path(), file.size_bytes() - offset, directory_, free_bytes));
  }

  static absl::Status CheckManifest(const v1::Artifact& artifact) {
    for (const v1::ArtifactFile& file : artifact.files()) RETURN_IF_ERROR(CheckArtifactFile(file));
    for (const v1::ArtifactFile& file : artifact.files()) {
      if (file.path() == "manifest.json" && file.sha256() == artifact.digest()) return absl::OkStatus();
    }
    return InvalidInput("ARTIFACT_MANIFEST_MISSING",
                        absl::StrFormat("the artifact has no manifest.json with SHA-256 '%s'", artifact.digest()));
  }

  absl::Status PublishFile(const StagingKey& key, const v1::ArtifactFile& file) {
    const std::string published = PublishedPath(file.sha256());
    const std::string staged = StagedPath(key, file);
    const std::string there = files_.Exists(published) ? published : staged;
    const auto size_bytes = files_.FileSize(there);
    if (!size_bytes.ok() || *size_bytes != static_cast<uint64_t>(file.size_bytes())) {
      return ReasonError(
          absl::StatusCode::kFailedPrecondition, "ARTIFACT_INCOMPLETE",
          absl::StrFormat("%s (%d bytes, SHA-256 %s) was not uploaded", file.path(), file.size_bytes(), file.sha256()));
    }
    if (there == published) return absl::OkStatus();
    const std::string folder = DirectoryName(published);
    RETURN_IF_ERROR(files_.CreateDirectories(folder));
    RETURN_IF_ERROR(files_.SyncDirectory(published_));
    RETURN_IF_ERROR(files_.Rename(staged, published));
    return files_.SyncDirectory(folder);
  }

  FileSystem& files_;
  const std::string directory_;
  const std::string published_;
  const std::string staging_;
  const std::shared_ptr<BusyFiles> busy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenDirectoryArtifactStore(FileSystem& files,
                                                                          const std::string& directory) {
  auto store = std::make_unique<DirectoryArtifactStore>(files, directory);
  RETURN_IF_ERROR(store->Initialize());
  return std::unique_ptr<ArtifactStore>(std::move(store));
}

}  // namespace quantd
