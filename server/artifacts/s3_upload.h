// One file on its way into the staging area of an object store.
#ifndef QUANTD_SERVER_ARTIFACTS_S3_UPLOAD_H_
#define QUANTD_SERVER_ARTIFACTS_S3_UPLOAD_H_

#include <memory>
#include <string>
#include <utility>

#include "core/objects/s3_client.h"
#include "server/artifacts/artifact_store.h"

namespace quantd {

// Where a file is received, and where it goes.
struct S3UploadRoute {
  FileSystem& files;
  S3Client& client;
  std::string local_path;  // once it is whole and checked
  S3Location object;
};

// Received by the directory store; sent to the object store by Finish. When that fails the local file stays, and the
// next stream, which has nothing left to send, tries again.
class S3Upload : public ArtifactUpload {
 public:
  S3Upload(std::unique_ptr<ArtifactUpload> local, S3UploadRoute route, int64_t size_bytes)
      : local_(std::move(local)), route_(std::move(route)), size_bytes_(size_bytes) {}

  absl::Status Append(absl::string_view bytes) override { return local_->Append(bytes); }
  absl::Status Finish() override;
  int64_t received_bytes() const override { return local_->received_bytes(); }

 private:
  absl::Status Send();

  const std::unique_ptr<ArtifactUpload> local_;
  const S3UploadRoute route_;
  const int64_t size_bytes_;
};

// Of a file that the object store has already, from whichever server: nothing is left to send.
class FinishedUpload : public ArtifactUpload {
 public:
  explicit FinishedUpload(const v1::ArtifactFile& file) : path_(file.path()), size_bytes_(file.size_bytes()) {}

  absl::Status Append(absl::string_view bytes) override;
  absl::Status Finish() override { return absl::OkStatus(); }
  int64_t received_bytes() const override { return size_bytes_; }

 private:
  const std::string path_;
  const int64_t size_bytes_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_S3_UPLOAD_H_
