#include "server/artifacts/directory_checkpoints.h"

#include "absl/strings/str_format.h"
#include "core/base/durable_step.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kDigestLength = 64;

bool IsAbsent(const absl::Status& status) {
  return ReasonOf(status) == "FILE_NOT_FOUND";
}

}  // namespace

// A file has its size only once it is whole: staged and stored files got their names after their digest was checked.
absl::StatusOr<bool> DirectoryCheckpoints::IsThere(const std::string& path, const v1::ArtifactFile& file) {
  const auto size_bytes = files_.FileSize(path);
  if (IsAbsent(size_bytes.status())) return false;
  RETURN_IF_ERROR(size_bytes.status());
  return *size_bytes == static_cast<uint64_t>(file.size_bytes());
}

absl::StatusOr<std::vector<std::string>> DirectoryCheckpoints::Missing(absl::string_view job,
                                                                       const v1::Checkpoint& checkpoint,
                                                                       const StagedPath& staged) {
  std::vector<std::string> missing;
  for (const v1::ArtifactFile& file : checkpoint.files()) {
    ASSIGN_OR_RETURN(const bool stored, IsThere(JoinPath(Folder(job), file.sha256()), file));
    if (stored) continue;
    ASSIGN_OR_RETURN(const bool uploaded, IsThere(staged(file), file));
    if (!uploaded) missing.push_back(file.path());
  }
  return missing;
}

absl::Status DirectoryCheckpoints::Commit(absl::string_view job, const v1::Checkpoint& checkpoint,
                                          const StagedPath& staged) {
  ASSIGN_OR_RETURN(const std::vector<std::string> missing, Missing(job, checkpoint, staged));
  if (!missing.empty()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_INCOMPLETE",
                       absl::StrFormat("%s of the checkpoint was not uploaded (%d files are missing); ask "
                                       "CheckpointFilesMissing, upload them and commit again",
                                       missing.front(), missing.size()));
  }
  const std::string folder = Folder(job);
  RETURN_IF_ERROR(files_.CreateDirectories(folder));
  for (const v1::ArtifactFile& file : checkpoint.files()) RETURN_IF_ERROR(Take(folder, file, staged));
  // Also when every file was there already: an earlier try may have failed right here.
  return RunDurableStep(DurableStep::kCheckpointDirectorySync, [&]() -> absl::Status {
    RETURN_IF_ERROR(files_.SyncDirectory(folder));
    return files_.SyncDirectory(root_);
  });
}

absl::Status DirectoryCheckpoints::Take(const std::string& folder, const v1::ArtifactFile& file,
                                        const StagedPath& staged) {
  const std::string stored = JoinPath(folder, file.sha256());
  ASSIGN_OR_RETURN(const bool there, IsThere(stored, file));
  if (there) return absl::OkStatus();
  return RunDurableStep(DurableStep::kCheckpointRename, [&] { return files_.Rename(staged(file), stored); });
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> DirectoryCheckpoints::Open(absl::string_view job,
                                                                             absl::string_view sha256) {
  const std::string path = JoinPath(Folder(job), sha256);
  if (sha256.size() == kDigestLength && files_.Exists(path)) return files_.OpenForRead(path);
  return ReasonError(
      absl::StatusCode::kNotFound, "CHECKPOINT_FILE_NOT_FOUND",
      absl::StrFormat("no checkpoint of job %s has a file with SHA-256 '%s'; begin without a checkpoint", job, sha256));
}

absl::Status DirectoryCheckpoints::Remove(absl::string_view job, const std::vector<std::string>& sha256s) {
  for (const std::string& sha256 : sha256s) {
    const absl::Status removed = files_.RemoveFile(JoinPath(Folder(job), sha256));
    if (!IsAbsent(removed)) RETURN_IF_ERROR(removed);
  }
  return absl::OkStatus();
}

absl::Status DirectoryCheckpoints::Drop(absl::string_view job) {
  return files_.RemoveAll(Folder(job));
}

absl::StatusOr<std::vector<std::string>> DirectoryCheckpoints::Jobs() {
  return files_.ListDirectory(root_);
}

}  // namespace quantd
