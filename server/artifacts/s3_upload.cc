#include "server/artifacts/s3_upload.h"

#include "absl/strings/str_format.h"
#include "core/base/durable_step.h"
#include "core/base/status.h"

namespace quantd {

absl::Status S3Upload::Finish() {
  RETURN_IF_ERROR(local_->Finish());
  if (local_->received_bytes() < size_bytes_) return absl::OkStatus();
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kUploadSync, [&] { return Send(); }));
  return route_.files.RemoveFile(route_.local_path);
}

absl::Status S3Upload::Send() {
  ASSIGN_OR_RETURN(const auto file, route_.files.OpenForRead(route_.local_path));
  const absl::Status status = route_.client.PutFile(route_.object, *file, PutCondition::kIfAbsent);
  if (ReasonOf(status) != "OBJECT_EXISTS") return status;
  // Another server received it too, or an answer was lost. Its name says its digest: only its size is in question.
  ASSIGN_OR_RETURN(const ObjectInfo there, route_.client.Head(route_.object));
  if (there.size_bytes == size_bytes_) return absl::OkStatus();
  return route_.client.PutFile(route_.object, *file, PutCondition::kAlways);
}

absl::Status FinishedUpload::Append(absl::string_view bytes) {
  if (bytes.empty()) return absl::OkStatus();
  return InvalidInput("UPLOAD_TOO_LONG",
                      absl::StrFormat("%s: more bytes came than the announced %d", path_, size_bytes_));
}

}  // namespace quantd
