// The checkpoint area of the directory store: one folder a job, one file a content.
#ifndef QUANTD_SERVER_ARTIFACTS_DIRECTORY_CHECKPOINTS_H_
#define QUANTD_SERVER_ARTIFACTS_DIRECTORY_CHECKPOINTS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/artifacts/artifact_store.h"

namespace quantd {

// Thread-safe. The calls are those of ArtifactStore.
class DirectoryCheckpoints {
 public:
  // Where a complete upload of the file would be.
  using StagedPath = std::function<std::string(const v1::ArtifactFile& file)>;

  DirectoryCheckpoints(FileSystem& files, std::string root) : files_(files), root_(std::move(root)) {}

  absl::Status Commit(absl::string_view job, const v1::Checkpoint& checkpoint, const StagedPath& staged);
  absl::StatusOr<std::vector<std::string>> Missing(absl::string_view job, const v1::Checkpoint& checkpoint,
                                                   const StagedPath& staged);
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(absl::string_view job, absl::string_view sha256);
  absl::Status Remove(absl::string_view job, const std::vector<std::string>& sha256s);
  absl::Status Drop(absl::string_view job);
  absl::StatusOr<std::vector<std::string>> Jobs();

 private:
  std::string Folder(absl::string_view job) const { return JoinPath(root_, job); }
  absl::StatusOr<bool> IsThere(const std::string& path, const v1::ArtifactFile& file);
  absl::Status Take(const std::string& folder, const v1::ArtifactFile& file, const StagedPath& staged);

  FileSystem& files_;
  const std::string root_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_DIRECTORY_CHECKPOINTS_H_
