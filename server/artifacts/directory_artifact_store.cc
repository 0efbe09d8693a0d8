#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/durable_step.h"
#include "core/base/status.h"
#include "server/artifacts/artifact_store.h"
#include "server/artifacts/directory_checkpoints.h"
#include "server/artifacts/directory_upload.h"

namespace quantd {
namespace {

constexpr size_t kDigestNameLength = 64;

class DirectoryArtifactStore : public ArtifactStore {
 public:
  DirectoryArtifactStore(FileSystem& files, std::string directory)
      : files_(files),
        directory_(std::move(directory)),
        published_(JoinPath(directory_, "artifacts/sha256")),
        staging_(JoinPath(directory_, "staging")),
        checkpoint_root_(JoinPath(directory_, "checkpoints")),
        checkpoints_(files, checkpoint_root_) {}

  absl::Status Initialize() {
    RETURN_IF_ERROR(files_.CreateDirectories(published_));
    RETURN_IF_ERROR(files_.CreateDirectories(staging_));
    RETURN_IF_ERROR(files_.CreateDirectories(checkpoint_root_));
    // No durable step: nothing has been accepted yet.
    RETURN_IF_ERROR(files_.SyncDirectory(DirectoryName(published_)));
    return files_.SyncDirectory(directory_);  // No durable step: the same.
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
    HeldNames::Hold busy = busy_.TryTake(final_path);
    if (busy == nullptr) {
      return ReasonError(absl::StatusCode::kUnavailable, "UPLOAD_IN_PROGRESS",
                         absl::StrFormat("%s: another stream is sending this file; retry", file.path()));
    }
    RETURN_IF_ERROR(CheckOffset(final_path, file, offset));
    RETURN_IF_ERROR(CheckSpace(file, offset));
    RETURN_IF_ERROR(CreateStagedFolder(StagedFolder(key, file.path())));
    auto upload = std::make_unique<DirectoryUpload>(files_, file, final_path, offset);
    if (offset == file.size_bytes() && files_.Exists(final_path)) {
      // Complete already: continue it as a part, which Finish checks and renames once more. No durable step: the upload
      // goes on under either name.
      RETURN_IF_ERROR(files_.Rename(final_path, absl::StrCat(final_path, kPartSuffix)));
    }
    RETURN_IF_ERROR(upload->Start(std::move(busy), /*from_zero=*/offset == 0));
    return std::unique_ptr<ArtifactUpload>(std::move(upload));
  }

  absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) override {
    RETURN_IF_ERROR(CheckArtifactManifest(artifact));
    // Before the first is moved: of an artifact that lacks a file none is published.
    for (const v1::ArtifactFile& file : artifact.files()) RETURN_IF_ERROR(FindFile(key, file).status());
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

  absl::Status KeepStaging(const LiveAttempts& live) override {
    std::map<std::string, std::vector<std::string>> staged;  // job -> fences
    ASSIGN_OR_RETURN(const std::vector<std::string> jobs, files_.ListDirectory(staging_));
    for (const std::string& job : jobs) staged[job] = Names(JoinPath(staging_, job));
    if (staged.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::vector<StagingKey> attempts, live());
    std::map<std::string, std::set<std::string>> kept;
    for (const StagingKey& key : attempts) kept[key.job].insert(absl::StrCat(key.fence));
    for (const auto& [job, fences] : staged) RETURN_IF_ERROR(KeepFences(JoinPath(staging_, job), fences, kept[job]));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(absl::string_view sha256) override {
    const std::string path = PublishedPath(sha256);
    if (sha256.size() == kDigestNameLength && files_.Exists(path)) return files_.OpenForRead(path);
    return ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_FILE_NOT_FOUND",
                       absl::StrFormat("no published file has SHA-256 '%s'", sha256));
  }

  absl::StatusOr<bool> Remove(absl::string_view sha256, absl::Duration min_age) override {
    const std::string path = PublishedPath(sha256);
    if (sha256.size() != kDigestNameLength) return true;
    const HeldNames::Hold hold = published_names_.Take(sha256);
    if (!files_.Exists(path)) return true;
    ASSIGN_OR_RETURN(const absl::Duration age, files_.FileAge(path));
    if (age < min_age) return false;
    const auto unlink = [&]() -> absl::Status {
      RETURN_IF_ERROR(files_.RemoveFile(path));
      return files_.SyncDirectory(DirectoryName(path));  // Durable step: purge.unlink.
    };
    RETURN_IF_ERROR(RunDurableStep(DurableStep::kArtifactUnlink, unlink));
    return true;
  }

  absl::StatusOr<std::vector<PublishedFile>> ListPublished(absl::string_view after, int limit) override {
    std::vector<PublishedFile> found;
    ASSIGN_OR_RETURN(const std::vector<std::string> folders, files_.ListDirectory(published_));
    for (const std::string& folder : folders) {
      if (folder < after.substr(0, 2) || !files_.IsDirectory(JoinPath(published_, folder))) continue;
      RETURN_IF_ERROR(ListFolder(JoinPath(published_, folder), after, limit, &found));
      if (static_cast<int>(found.size()) >= limit) break;
    }
    return found;
  }

  absl::StatusOr<uint64_t> FreeBytes() override { return files_.FreeBytes(directory_); }

  absl::Status CommitCheckpoint(const StagingKey& key, const v1::Checkpoint& checkpoint) override {
    RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
    return checkpoints_.Commit(key.job, checkpoint, StagedIn(key));
  }
  absl::StatusOr<std::vector<std::string>> CheckpointFilesMissing(const StagingKey& key,
                                                                  const v1::Checkpoint& checkpoint) override {
    RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
    return checkpoints_.Missing(key.job, checkpoint, StagedIn(key));
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenCheckpointFile(absl::string_view job,
                                                                       absl::string_view sha256) override {
    return checkpoints_.Open(job, sha256);
  }
  absl::Status RemoveCheckpointFiles(absl::string_view job, const std::vector<std::string>& sha256s) override {
    return checkpoints_.Remove(job, sha256s);
  }
  absl::Status DropCheckpoint(absl::string_view job) override { return checkpoints_.Drop(job); }
  absl::StatusOr<std::vector<std::string>> CheckpointedJobs() override { return checkpoints_.Jobs(); }

 private:
  absl::Status ListFolder(const std::string& folder, absl::string_view after, int limit,
                          std::vector<PublishedFile>* found) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(folder));
    for (const std::string& name : names) {
      if (static_cast<int>(found->size()) >= limit) return absl::OkStatus();
      if (name.size() != kDigestNameLength || name <= after) continue;
      const std::string path = JoinPath(folder, name);
      const auto size_bytes = files_.FileSize(path);
      const auto age = files_.FileAge(path);
      if (!size_bytes.ok() || !age.ok()) continue;  // removed meanwhile
      found->push_back({.sha256 = name, .size_bytes = static_cast<int64_t>(*size_bytes), .age = *age});
    }
    return absl::OkStatus();
  }

  // Of a folder; none when it is a file, or has just been removed by another server.
  std::vector<std::string> Names(const std::string& folder) {
    auto names = files_.IsDirectory(folder) ? files_.ListDirectory(folder) : std::vector<std::string>();
    return names.ok() ? *std::move(names) : std::vector<std::string>();
  }

  absl::Status KeepFences(const std::string& job, const std::vector<std::string>& fences,
                          const std::set<std::string>& kept) {
    for (const std::string& fence : fences) {
      if (kept.count(fence) == 0) RETURN_IF_ERROR(files_.RemoveAll(JoinPath(job, fence)));
    }
    return kept.empty() && Names(job).empty() ? files_.RemoveAll(job) : absl::OkStatus();
  }

  // With every folder above it, durably.
  absl::Status CreateStagedFolder(const std::string& folder) {
    RETURN_IF_ERROR(files_.CreateDirectories(folder));
    for (std::string above = DirectoryName(folder); above.size() >= staging_.size(); above = DirectoryName(above)) {
      RETURN_IF_ERROR(files_.SyncDirectory(above));  // No durable step: the folder is empty.
    }
    return absl::OkStatus();
  }

  std::string StagedFolder(const StagingKey& key, absl::string_view path) const {
    return absl::StrCat(staging_, "/", key.job, "/", key.fence, "/", path);
  }
  std::string StagedPath(const StagingKey& key, const v1::ArtifactFile& file) const {
    return JoinPath(StagedFolder(key, file.path()), file.sha256());
  }
  DirectoryCheckpoints::StagedPath StagedIn(const StagingKey& key) const {
    return [this, key](const v1::ArtifactFile& file) { return StagedPath(key, file); };
  }
  std::string PublishedPath(absl::string_view sha256) const {
    return absl::StrCat(published_, "/", sha256.substr(0, 2), "/", sha256);
  }

  absl::Status CheckOffset(const std::string& final_path, const v1::ArtifactFile& file, int64_t offset) {
    if (offset == 0) return absl::OkStatus();
    const std::string part_path = absl::StrCat(final_path, kPartSuffix);
    uint64_t there = 0;
    // Both are there when a complete file was begun again: either may be continued.
    for (const std::string& path : {final_path, part_path}) {
      if (!files_.Exists(path)) continue;
      ASSIGN_OR_RETURN(const uint64_t size_bytes, files_.FileSize(path));
      if (offset > 0 && static_cast<uint64_t>(offset) == size_bytes) return absl::OkStatus();
      there = std::max(there, size_bytes);
    }
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

  // Where the file is now: published or staged.
  absl::StatusOr<std::string> FindFile(const StagingKey& key, const v1::ArtifactFile& file) {
    // Staged first: another server may be publishing it, and moves it between the two looks.
    const std::string staged = StagedPath(key, file);
    const bool is_staged = files_.Exists(staged);
    const std::string published = PublishedPath(file.sha256());
    const std::string there = files_.Exists(published) || !is_staged ? published : staged;
    const auto size_bytes = files_.FileSize(there);
    if (size_bytes.ok() && *size_bytes == static_cast<uint64_t>(file.size_bytes())) return there;
    // A disk that cannot be read now may be readable at the next try.
    if (!size_bytes.ok() && ReasonOf(size_bytes.status()) != "FILE_NOT_FOUND") return size_bytes.status();
    return ArtifactIncomplete(file);
  }

  absl::Status PublishFile(const StagingKey& key, const v1::ArtifactFile& file) {
    const std::string published = PublishedPath(file.sha256());
    const HeldNames::Hold hold = published_names_.Take(file.sha256());
    ASSIGN_OR_RETURN(const std::string there, FindFile(key, file));
    const std::string folder = DirectoryName(published);
    if (there != published) {
      RETURN_IF_ERROR(files_.CreateDirectories(folder));
      RETURN_IF_ERROR(files_.SyncDirectory(published_));  // No durable step: the folder is empty.
      const absl::Status moved =
          RunDurableStep(DurableStep::kArtifactRename, [&] { return files_.Rename(there, published); });
      // Another server may have been faster.
      if (!moved.ok() && !(ReasonOf(moved) == "FILE_NOT_FOUND" && files_.Exists(published))) return moved;
    }
    // Its age counts from now on, that no retention takes it away before somebody names it.
    RETURN_IF_ERROR(files_.Touch(published));
    // Also for a file that is there already: an earlier try may have failed right here.
    return RunDurableStep(DurableStep::kArtifactDirectorySync, [&] { return files_.SyncDirectory(folder); });
  }

  FileSystem& files_;
  const std::string directory_;
  const std::string published_;
  const std::string staging_;
  const std::string checkpoint_root_;
  DirectoryCheckpoints checkpoints_;
  HeldNames published_names_;  // a file is either being published or being removed
  HeldNames busy_;             // files that a stream is writing now, so that two streams never mix their bytes
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenDirectoryArtifactStore(FileSystem& files,
                                                                          const std::string& directory) {
  auto store = std::make_unique<DirectoryArtifactStore>(files, directory);
  RETURN_IF_ERROR(store->Initialize());
  return std::unique_ptr<ArtifactStore>(std::move(store));
}

}  // namespace quantd
