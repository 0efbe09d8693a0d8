#include "worker/agent/checkpoint_download.h"

#include <memory>

#include "absl/strings/str_format.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "worker/agent/child_messages.h"
#include "worker/agent/retry.h"

namespace quantd {
namespace {

// A file's deadline: this much plus a second a megabyte. A slower line breaks off and resumes, it does not fail.
constexpr absl::Duration kBaseDeadline = absl::Seconds(60);

absl::Status Differs(const v1::ArtifactFile& file, absl::string_view how) {
  return ReasonError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                     absl::StrFormat("%s of the checkpoint: %s", file.path(), how));
}

// One file, over as many calls as it takes.
class FileDownload {
 public:
  FileDownload(ServerConnection& server, const CheckpointDownloadOptions& options, const v1::ArtifactFile& file)
      : server_(server), options_(options), file_(file) {}

  absl::Status Run(FileSystem& files, const std::stop_token& stop) {
    if (!IsFlatFileName(file_.path())) return Differs(file_, "its name may lead out of the folder");
    ASSIGN_OR_RETURN(out_, files.OpenForWrite(JoinPath(options_.folder, file_.path())));
    RETURN_IF_ERROR(RetryTransient(stop, [&] { return Attempt(stop); }));
    RETURN_IF_ERROR(out_->Close());
    if (received_bytes_ != file_.size_bytes()) {
      return Differs(file_, absl::StrFormat("%d of %d bytes came", received_bytes_, file_.size_bytes()));
    }
    const std::string digest = digest_.Finish();
    if (digest == file_.sha256()) return absl::OkStatus();
    return Differs(file_, absl::StrFormat("its SHA-256 is %s, %s was recorded", digest, file_.sha256()));
  }

 private:
  absl::Status Attempt(const std::stop_token& stop) {
    v1::DownloadCheckpointRequest request;
    request.set_job(options_.job);
    request.set_fence(options_.fence);
    request.set_path(file_.path());
    request.set_offset(received_bytes_);
    const CallLimits limits = {.deadline = kBaseDeadline + absl::Seconds(file_.size_bytes() >> 20), .stop = stop};
    return server_.DownloadCheckpoint(
        request, [this](absl::string_view chunk) { return Take(chunk); }, limits);
  }

  absl::Status Take(absl::string_view chunk) {
    const auto bytes = static_cast<int64_t>(chunk.size());
    if (bytes > file_.size_bytes() - received_bytes_) return Differs(file_, "more bytes came than were recorded");
    RETURN_IF_ERROR(out_->Append(chunk));
    digest_.Update(chunk);
    received_bytes_ += bytes;
    return absl::OkStatus();
  }

  ServerConnection& server_;
  const CheckpointDownloadOptions& options_;
  const v1::ArtifactFile& file_;
  std::unique_ptr<WritableFile> out_;
  Sha256 digest_;
  int64_t received_bytes_ = 0;
};

absl::Status DownloadAll(ServerConnection& server, FileSystem& files, const CheckpointDownloadOptions& options,
                         const v1::Checkpoint& checkpoint, const std::stop_token& stop) {
  RETURN_IF_ERROR(files.CreateDirectories(options.folder));
  for (const v1::ArtifactFile& file : checkpoint.files()) {
    RETURN_IF_ERROR(FileDownload(server, options, file).Run(files, stop));
    if (stop.stop_requested()) return absl::CancelledError("download stopped");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DownloadCheckpoint(ServerConnection& server, FileSystem& files, const CheckpointDownloadOptions& options,
                                const v1::Checkpoint& checkpoint, const std::stop_token& stop) {
  const absl::Status status = DownloadAll(server, files, options, checkpoint, stop);
  if (status.ok()) return status;
  RETURN_IF_ERROR(files.RemoveAll(options.folder));
  return stop.stop_requested() ? absl::CancelledError("download stopped") : status;
}

bool IsUnusableCheckpoint(const absl::Status& status) {
  return status.code() == absl::StatusCode::kDataLoss || ReasonOf(status) == "CHECKPOINT_FILE_NOT_FOUND" ||
         ReasonOf(status) == "CHECKPOINT_NOT_FOUND";
}

}  // namespace quantd
