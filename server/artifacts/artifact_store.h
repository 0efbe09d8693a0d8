// Files of artifacts: received in a staging area, published under their digest, read back in pieces.
//
//   staging/{job}/{fence}/{path}/{sha256}.part   being received
//   staging/{job}/{fence}/{path}/{sha256}        received, synced, digest checked
//   artifacts/sha256/ab/abcd...                  published, immutable
//   checkpoints/{job}/{sha256}                   files of the job's checkpoint
//
// Staging is private to one attempt of a job (its fence), so that a worker whose lease has passed cannot touch what a
// newer attempt sends. Paths come from workers: they are checked by CheckArtifactPath before any use.
#ifndef QUANTD_SERVER_ARTIFACTS_ARTIFACT_STORE_H_
#define QUANTD_SERVER_ARTIFACTS_ARTIFACT_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/file_system.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

// One attempt of one job.
struct StagingKey {
  std::string job;  // id
  int64_t fence = 0;
};

// The attempts that may still send files.
using LiveAttempts = std::function<absl::StatusOr<std::vector<StagingKey>>()>;

// Relative, at most 512 bytes, parts of at most 255 of [A-Za-z0-9._-] that do not begin with a dot:
// ARTIFACT_PATH_INVALID otherwise.
absl::Status CheckArtifactPath(absl::string_view path);
// The path, a size >= 0 and 64 lower-case hex digits: ARTIFACT_PATH_INVALID, ARTIFACT_SIZE_INVALID,
// ARTIFACT_DIGEST_INVALID.
absl::Status CheckArtifactFile(const v1::ArtifactFile& file);
// Good files, manifest.json with the artifact's digest among them: ARTIFACT_MANIFEST_MISSING otherwise.
absl::Status CheckArtifactManifest(const v1::Artifact& artifact);
// FAILED_PRECONDITION ARTIFACT_INCOMPLETE, for a file that was announced and is nowhere.
absl::Status ArtifactIncomplete(const v1::ArtifactFile& file);
// Good files, each path once, at most 10,000, checkpoint.json among them, the whole message at most 2 MiB:
// CHECKPOINT_MALFORMED otherwise.
absl::Status CheckCheckpoint(const v1::Checkpoint& checkpoint);

// Receives the bytes of one file. Not thread-safe; must not outlive its store.
class ArtifactUpload {
 public:
  virtual ~ArtifactUpload() = default;
  // INVALID_ARGUMENT UPLOAD_TOO_LONG when more comes than the file's size; RESOURCE_EXHAUSTED DISK_FULL.
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // With the last byte there: syncs and checks. DATA_LOSS DIGEST_MISMATCH, and when the disk refuses the sync DISK_FULL
  // or IO_ERROR: the bytes are dropped, begin again at 0.
  // When bytes are still missing: OK, they are kept for the next stream.
  virtual absl::Status Finish() = 0;
  virtual int64_t received_bytes() const = 0;
};

struct PublishedFile {
  std::string sha256;
  int64_t size_bytes = 0;
  absl::Duration age;  // since it was published, the last time when several artifacts have it
};

// Thread-safe.
class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;

  // Bytes of `path` that are already there. Several digests of one path: the most.
  virtual absl::StatusOr<int64_t> UploadOffset(const StagingKey& key, absl::string_view path) = 0;

  // Begins or continues at `offset`; 0 drops what was there. OUT_OF_RANGE UPLOAD_OFFSET_WRONG when other bytes are
  // there than `offset` says; UNAVAILABLE UPLOAD_IN_PROGRESS while another stream sends this file; RESOURCE_EXHAUSTED
  // DISK_FULL when the rest would not fit.
  virtual absl::StatusOr<std::unique_ptr<ArtifactUpload>> BeginUpload(const StagingKey& key,
                                                                      const v1::ArtifactFile& file, int64_t offset) = 0;

  // Moves every file of `artifact` from staging to its digest and syncs. Files published before (by an earlier try) are
  // left alone, so that it may be repeated. FAILED_PRECONDITION ARTIFACT_INCOMPLETE names the first missing file, and
  // none is moved; INVALID_ARGUMENT ARTIFACT_MANIFEST_MISSING when there is no manifest.json with the artifact's
  // digest.
  virtual absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) = 0;

  // Removes what an attempt staged, or what every attempt of the job did when fence is 0.
  virtual absl::Status DropStaging(const StagingKey& key) = 0;

  // Removes what attempts staged that are not alive any more: leftovers of a server that was killed between a job's end
  // and the removal. `live` is called after it has been looked what is staged, so that an attempt that begins on
  // another server meanwhile loses nothing.
  virtual absl::Status KeepStaging(const LiveAttempts& live) = 0;

  // Published bytes. NOT_FOUND ARTIFACT_FILE_NOT_FOUND.
  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(absl::string_view sha256) = 0;

  // Removes a published file, durably. A file that was published less than `min_age` ago is left alone: somebody may be
  // about to name it. False when it was; true when it is gone, also when it was not there.
  virtual absl::StatusOr<bool> Remove(absl::string_view sha256, absl::Duration min_age) = 0;

  // Published files in the order of their digests, those after `after` ("": from the first), at most `limit`.
  virtual absl::StatusOr<std::vector<PublishedFile>> ListPublished(absl::string_view after, int limit) = 0;

  virtual absl::StatusOr<uint64_t> FreeBytes() = 0;

  // Checkpoints. Their files belong to a job and are stored once per content; which of them are the newest checkpoint
  // is said by the job's row. Order: commit the files, record the row, then remove the files that only the checkpoint
  // before had. What a crash leaves in between is removed with the job's checkpoint.

  // Takes every file of `checkpoint` from what this attempt staged, unless the job has it already, and syncs. May be
  // repeated. FAILED_PRECONDITION CHECKPOINT_INCOMPLETE names the first file that is in neither place; none is taken
  // then.
  virtual absl::Status CommitCheckpoint(const StagingKey& key, const v1::Checkpoint& checkpoint) = 0;
  // Paths of the files that CommitCheckpoint would miss.
  virtual absl::StatusOr<std::vector<std::string>> CheckpointFilesMissing(const StagingKey& key,
                                                                          const v1::Checkpoint& checkpoint) = 0;
  // NOT_FOUND CHECKPOINT_FILE_NOT_FOUND. Whoever reads it all compares the digest.
  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenCheckpointFile(absl::string_view job,
                                                                               absl::string_view sha256) = 0;
  // Absent files are OK.
  virtual absl::Status RemoveCheckpointFiles(absl::string_view job, const std::vector<std::string>& sha256s) = 0;
  // All files of the job's checkpoints; none is OK.
  virtual absl::Status DropCheckpoint(absl::string_view job) = 0;
  // Ids of jobs that have files, for the removal of those that a crash left behind.
  virtual absl::StatusOr<std::vector<std::string>> CheckpointedJobs() = 0;
};

// In `directory`/artifacts, /staging and /checkpoints, created when absent. Staged bytes of former runs are kept:
// workers resume their uploads.
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenDirectoryArtifactStore(FileSystem& files,
                                                                          const std::string& directory);

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_ARTIFACT_STORE_H_
