#include "worker/agent/upload.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "worker/agent/retry.h"
#include "worker/agent/rpc_status.h"

namespace quantd {
namespace {

constexpr int64_t kChunkBytes = 512 << 10;
constexpr int kMaxAttemptsOnBadBytes = 3;
// A file's deadline: this much plus a second a megabyte. A slower line breaks off and resumes, it does not fail.
constexpr absl::Duration kBaseDeadline = absl::Seconds(60);

// Reads a file from an offset on in chunks.
class FileChunks {
 public:
  FileChunks(const RandomAccessFile& file, int64_t offset) : file_(file), offset_(static_cast<uint64_t>(offset)) {}

  absl::StatusOr<absl::string_view> Next() {
    const uint64_t left = file_.size_bytes() - std::min(offset_, file_.size_bytes());
    buffer_.resize(std::min<uint64_t>(left, kChunkBytes));
    RETURN_IF_ERROR(file_.Read(offset_, absl::MakeSpan(buffer_)));
    offset_ += buffer_.size();
    return absl::string_view(buffer_);
  }

 private:
  const RandomAccessFile& file_;
  uint64_t offset_;
  std::string buffer_;
};

class FileUpload {
 public:
  FileUpload(ServerConnection& server, const UploadOptions& options, const v1::ArtifactFile& file,
             const std::stop_token& stop)
      : server_(server), options_(options), file_(file), stop_(stop) {}

  absl::Status Run(FileSystem& files) {
    ASSIGN_OR_RETURN(const auto source, files.OpenForRead(JoinPath(options_.folder, file_.path())));
    absl::Duration backoff = options_.first_backoff;
    int bad_bytes = 0;
    while (true) {
      const absl::Status status = Attempt(*source);
      if (stop_.stop_requested()) return absl::CancelledError("upload stopped");
      if (status.ok() || !(IsTransient(status) || (IsBadBytes(status) && ++bad_bytes < kMaxAttemptsOnBadBytes))) {
        return WithContext(status, absl::StrFormat("uploading %s", file_.path()));
      }
      from_zero_ = IsBadBytes(status);
      if (!SleepUnlessStopped(backoff, stop_)) return absl::CancelledError("upload stopped");
      backoff = std::min(backoff * 2, options_.max_backoff);
    }
  }

 private:
  // What is staged is not what was sent: the server drops it, or names another offset when asked again.
  static bool IsBadBytes(const absl::Status& status) {
    return status.code() == absl::StatusCode::kDataLoss || status.code() == absl::StatusCode::kOutOfRange;
  }

  absl::Status Attempt(const RandomAccessFile& source) {
    v1::GetUploadOffsetRequest question;
    question.set_job(options_.job);
    question.set_fence(options_.fence);
    question.set_path(file_.path());
    ASSIGN_OR_RETURN(int64_t offset, server_.GetUploadOffset(question, {.stop = stop_}));
    // The bytes that are there may be another content's of the same path (an earlier checkpoint's): begin anew.
    if (std::exchange(from_zero_, false)) offset = 0;
    if (offset < 0 || offset > file_.size_bytes()) {
      return ReasonError(
          absl::StatusCode::kOutOfRange, "UPLOAD_OFFSET_WRONG",
          absl::StrFormat("the server has %d bytes of a file of %d; submit the job again", offset, file_.size_bytes()));
    }
    return Send(source, offset);
  }

  absl::Status Send(const RandomAccessFile& source, int64_t offset) {
    v1::UploadArtifactRequest::Header header;
    header.set_job(options_.job);
    header.set_fence(options_.fence);
    *header.mutable_file() = file_;
    header.set_offset(offset);
    FileChunks chunks(source, offset);
    const CallLimits limits = {.deadline = kBaseDeadline + absl::Seconds((file_.size_bytes() - offset) >> 20),
                               .stop = stop_};
    ASSIGN_OR_RETURN(const int64_t received, server_.Upload(
                                                 header, [&] { return chunks.Next(); }, limits));
    if (received == file_.size_bytes()) return absl::OkStatus();
    return ReasonError(absl::StatusCode::kDataLoss, "UPLOAD_INCOMPLETE",
                       absl::StrFormat("the server has %d of %d bytes, although all were sent; submit the job again",
                                       received, file_.size_bytes()));
  }

  ServerConnection& server_;
  const UploadOptions& options_;
  const v1::ArtifactFile& file_;
  const std::stop_token& stop_;
  bool from_zero_ = false;  // whatever the server says is there
};

}  // namespace

absl::Status UploadArtifact(ServerConnection& server, FileSystem& files, const UploadOptions& options,
                            const v1::Artifact& artifact, const std::stop_token& stop) {
  for (const v1::ArtifactFile& file : artifact.files()) {
    RETURN_IF_ERROR(FileUpload(server, options, file, stop).Run(files));
  }
  return absl::OkStatus();
}

}  // namespace quantd
