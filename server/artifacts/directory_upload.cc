#include "server/artifacts/directory_upload.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/durable_step.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {

DirectoryUpload::DirectoryUpload(FileSystem& files, v1::ArtifactFile file, std::string final_path,
                                 int64_t received_bytes)
    : files_(files),
      file_(std::move(file)),
      final_path_(std::move(final_path)),
      part_path_(absl::StrCat(final_path_, kPartSuffix)),
      received_bytes_(received_bytes) {}

absl::Status DirectoryUpload::Start(HeldNames::Hold busy, bool from_zero) {
  busy_ = std::move(busy);
  ASSIGN_OR_RETURN(stream_, from_zero ? files_.OpenForWrite(part_path_) : files_.OpenForAppend(part_path_));
  return absl::OkStatus();
}

absl::Status DirectoryUpload::Append(absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > file_.size_bytes() - received_bytes_) {
    return InvalidInput("UPLOAD_TOO_LONG",
                        absl::StrFormat("%s: more bytes came than the announced %d", file_.path(), file_.size_bytes()));
  }
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kUploadWrite, [&] { return stream_->Append(bytes); }));
  received_bytes_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status DirectoryUpload::Finish() {
  if (received_bytes_ < file_.size_bytes()) return stream_->Close();
  if (const absl::Status status = SyncAndClose(); !status.ok()) {
    // After a failed sync nobody knows which bytes reached the disk, and a second sync would not tell.
    (void)files_.RemoveFile(part_path_);
    return status;
  }
  RETURN_IF_ERROR(CheckDigest());
  // No durable step: the upload goes on under either name.
  RETURN_IF_ERROR(files_.Rename(part_path_, final_path_));
  // The name must last as well: the worker drops its own copy once everything is here. No durable step: as above.
  const absl::Status named = files_.SyncDirectory(DirectoryName(final_path_));
  if (!named.ok()) (void)files_.Rename(final_path_, part_path_);  // No durable step: as above.
  return named;
}

absl::Status DirectoryUpload::SyncAndClose() {
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kUploadSync, [&] { return stream_->Sync(); }));
  return stream_->Close();
}

// Reads the file back: what counts is what is on disk, and a resumed upload was written by several streams.
absl::Status DirectoryUpload::CheckDigest() {
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(part_path_));
  if (digest == file_.sha256()) return absl::OkStatus();
  (void)files_.RemoveFile(part_path_);
  return ReasonError(
      absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
      absl::StrFormat("%s: the bytes that arrived have SHA-256 %s, announced was %s; send it again from offset 0",
                      file_.path(), digest, file_.sha256()));
}

}  // namespace quantd
