// One file on its way into the staging area of the directory store.
#ifndef QUANTD_SERVER_ARTIFACTS_DIRECTORY_UPLOAD_H_
#define QUANTD_SERVER_ARTIFACTS_DIRECTORY_UPLOAD_H_

#include <memory>
#include <string>

#include "core/base/held_names.h"
#include "server/artifacts/artifact_store.h"

namespace quantd {

// Of a file that is not complete.
inline constexpr absl::string_view kPartSuffix = ".part";

class DirectoryUpload : public ArtifactUpload {
 public:
  // `received_bytes` are in the part file already.
  DirectoryUpload(FileSystem& files, v1::ArtifactFile file, std::string final_path, int64_t received_bytes);

  // Opens the part file. `busy`, the hold of the final path, is released when the upload ends.
  absl::Status Start(HeldNames::Hold busy, bool from_zero);

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
  HeldNames::Hold busy_;
  std::unique_ptr<WritableFile> stream_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_DIRECTORY_UPLOAD_H_
