// QuantService's DownloadArtifact.
#include <algorithm>
#include <memory>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/api/checked_file.h"
#include "server/api/find_job.h"
#include "server/api/quant_service.h"
#include "server/api/rpc_call.h"

namespace quantd {
namespace {

absl::Status CallerGone() {
  return absl::CancelledError("the caller has gone");
}

absl::Status SendFile(const RandomAccessFile& file, const v1::ArtifactFile& description, uint64_t offset,
                      const grpc::ServerContext& context, grpc::ServerWriter<v1::DownloadArtifactResponse>& writer) {
  CheckedFile checked(file, description);
  RETURN_IF_ERROR(checked.SkipTo(offset));
  v1::DownloadArtifactResponse message;
  message.set_size_bytes(description.size_bytes());
  message.set_sha256(description.sha256());
  while (!checked.at_end()) {
    if (context.IsCancelled()) return CallerGone();
    message.set_offset(static_cast<int64_t>(checked.offset()));
    RETURN_IF_ERROR(checked.Next(message.mutable_data()));
    if (!writer.Write(message)) return CallerGone();
    message.Clear();
  }
  RETURN_IF_ERROR(checked.Check("run the job again"));
  message.set_offset(static_cast<int64_t>(checked.offset()));
  message.set_done(true);
  return writer.Write(message) ? absl::OkStatus() : CallerGone();
}

absl::StatusOr<v1::ArtifactFile> FindFile(const v1::QuantJob& job, const std::string& path) {
  if (!job.has_artifact()) {
    return ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_NOT_FOUND",
                       absl::StrFormat("%s is %s and has no artifact", job.name(), StateName(job.state())));
  }
  if (job.artifact().expired()) {
    return ReasonError(
        absl::StatusCode::kNotFound, "ARTIFACT_EXPIRED",
        absl::StrFormat("the files of %s have expired and were removed; submit the job again", job.name()));
  }
  const std::string wanted = path.empty() ? "manifest.json" : path;
  for (const v1::ArtifactFile& file : job.artifact().files()) {
    if (file.path() == wanted) return file;
  }
  return WithField(
      ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_FILE_NOT_FOUND",
                  absl::StrFormat("the artifact of %s has no file '%.200s'; its files are listed in the job",
                                  job.name(), wanted)),
      "path");
}

}  // namespace

grpc::Status QuantService::DownloadArtifact(grpc::ServerContext* context, const v1::DownloadArtifactRequest* request,
                                            grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) {
  return AnswerRpc(parts_.metrics, "DownloadArtifact", [&] { return Download(*context, *request, *writer); });
}

absl::Status QuantService::Download(const grpc::ServerContext& context, const v1::DownloadArtifactRequest& request,
                                    grpc::ServerWriter<v1::DownloadArtifactResponse>& writer) {
  ASSIGN_OR_RETURN(const JobRecord record, FindJob(parts_.store, request.name()));
  ASSIGN_OR_RETURN(const v1::ArtifactFile description, FindFile(record.job, request.path()));
  if (request.offset() < 0 || request.offset() > description.size_bytes()) {
    return WithField(ReasonError(absl::StatusCode::kOutOfRange, "OFFSET_BEYOND_END",
                                 absl::StrFormat("offset is %d, %s has %d bytes", request.offset(), description.path(),
                                                 description.size_bytes())),
                     "offset");
  }
  ASSIGN_OR_RETURN(const auto file, parts_.artifacts.Open(description.sha256()));
  parts_.metrics.Increment(Metric::kArtifactBytes, {"sent"},
                           static_cast<double>(description.size_bytes() - request.offset()));
  return SendFile(*file, description, static_cast<uint64_t>(request.offset()), context, writer);
}

}  // namespace quantd
