// Passes every call on to a real store; a test overrides the one it is about.
#ifndef QUANTD_TESTS_SERVER_FORWARDING_ARTIFACT_STORE_H_
#define QUANTD_TESTS_SERVER_FORWARDING_ARTIFACT_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "server/artifacts/artifact_store.h"

namespace quantd {

class ForwardingArtifactStore : public ArtifactStore {
 public:
  explicit ForwardingArtifactStore(ArtifactStore& real) : real_(real) {}

  absl::StatusOr<int64_t> UploadOffset(const StagingKey& key, absl::string_view path) override {
    return real_.UploadOffset(key, path);
  }
  absl::StatusOr<std::unique_ptr<ArtifactUpload>> BeginUpload(const StagingKey& key, const v1::ArtifactFile& file,
                                                              int64_t offset) override {
    return real_.BeginUpload(key, file, offset);
  }
  absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) override {
    return real_.Publish(key, artifact);
  }
  absl::Status DropStaging(const StagingKey& key) override { return real_.DropStaging(key); }
  absl::Status KeepStaging(const LiveAttempts& live) override { return real_.KeepStaging(live); }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(absl::string_view sha256) override {
    return real_.Open(sha256);
  }
  absl::StatusOr<bool> Remove(absl::string_view sha256, absl::Duration min_age) override {
    return real_.Remove(sha256, min_age);
  }
  absl::StatusOr<std::vector<PublishedFile>> ListPublished(absl::string_view after, int limit) override {
    return real_.ListPublished(after, limit);
  }
  absl::StatusOr<uint64_t> FreeBytes() override { return real_.FreeBytes(); }

  absl::Status CommitCheckpoint(const StagingKey& key, const v1::Checkpoint& checkpoint) override {
    return real_.CommitCheckpoint(key, checkpoint);
  }
  absl::StatusOr<std::vector<std::string>> CheckpointFilesMissing(const StagingKey& key,
                                                                  const v1::Checkpoint& checkpoint) override {
    return real_.CheckpointFilesMissing(key, checkpoint);
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenCheckpointFile(absl::string_view job,
                                                                       absl::string_view sha256) override {
    return real_.OpenCheckpointFile(job, sha256);
  }
  absl::Status RemoveCheckpointFiles(absl::string_view job, const std::vector<std::string>& sha256s) override {
    return real_.RemoveCheckpointFiles(job, sha256s);
  }
  absl::Status DropCheckpoint(absl::string_view job) override { return real_.DropCheckpoint(job); }
  absl::StatusOr<std::vector<std::string>> CheckpointedJobs() override { return real_.CheckpointedJobs(); }

 private:
  ArtifactStore& real_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_FORWARDING_ARTIFACT_STORE_H_
