#include "server/api/worker_service.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/api/checked_file.h"
#include "server/api/rpc_call.h"

namespace quantd {
namespace {

constexpr size_t kMaxChunkBytes = 1 << 20;

absl::Status UploadMalformed(absl::string_view why) {
  return InvalidInput("UPLOAD_MALFORMED", why);
}

// The job of an upload is unknown only to a worker whose lease is long gone.
absl::Status AsStaleLease(const absl::Status& status) {
  if (ReasonOf(status) != "JOB_NOT_FOUND") return status;
  return ReasonError(absl::StatusCode::kAborted, "STALE_LEASE", status.message());
}

}  // namespace

grpc::Status WorkerService::Synchronize(grpc::ServerContext* context, const v1::SynchronizeRequest* request,
                                        v1::SynchronizeResponse* response) {
  return AnswerRpc(metrics_, "Synchronize", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(*response, scheduler_.Synchronize(*request, [&] { return context->IsCancelled(); }));
    return absl::OkStatus();
  });
}

grpc::Status WorkerService::UploadArtifact(grpc::ServerContext*, grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                                           v1::UploadArtifactResponse* response) {
  return AnswerRpc(metrics_, "UploadArtifact", [&] { return Upload(*reader, response); });
}

absl::Status WorkerService::Upload(grpc::ServerReader<v1::UploadArtifactRequest>& reader,
                                   v1::UploadArtifactResponse* response) {
  v1::UploadArtifactRequest message;
  if (!reader.Read(&message) || !message.has_header()) return UploadMalformed("the first message must be the header");
  const v1::UploadArtifactRequest::Header header = message.header();
  RETURN_IF_ERROR(AsStaleLease(scheduler_.CheckLease(header.job(), header.fence())));
  ASSIGN_OR_RETURN(const auto upload,
                   artifacts_.BeginUpload({header.job(), header.fence()}, header.file(), header.offset()));
  while (reader.Read(&message)) {
    if (!message.has_data()) return UploadMalformed("every message after the header must have data");
    if (message.data().size() > kMaxChunkBytes) return UploadMalformed("data of more than 1 MiB");
    RETURN_IF_ERROR(upload->Append(message.data()));
    metrics_.Increment(Metric::kArtifactBytes, {"received"}, static_cast<double>(message.data().size()));
  }
  RETURN_IF_ERROR(AsStaleLease(scheduler_.CheckLease(header.job(), header.fence())));
  RETURN_IF_ERROR(upload->Finish());
  response->set_size_bytes(upload->received_bytes());
  return absl::OkStatus();
}

grpc::Status WorkerService::GetUploadOffset(grpc::ServerContext*, const v1::GetUploadOffsetRequest* request,
                                            v1::GetUploadOffsetResponse* response) {
  return AnswerRpc(metrics_, "GetUploadOffset", [&]() -> absl::Status {
    RETURN_IF_ERROR(AsStaleLease(scheduler_.CheckLease(request->job(), request->fence())));
    ASSIGN_OR_RETURN(const int64_t offset,
                     artifacts_.UploadOffset({request->job(), request->fence()}, request->path()));
    response->set_offset(offset);
    return absl::OkStatus();
  });
}

grpc::Status WorkerService::CommitCheckpoint(grpc::ServerContext*, const v1::CommitCheckpointRequest* request,
                                             v1::CommitCheckpointResponse*) {
  return AnswerRpc(metrics_, "CommitCheckpoint", [&] {
    return AsStaleLease(scheduler_.checkpoints().Commit({request->job(), request->fence()}, request->checkpoint()));
  });
}

grpc::Status WorkerService::CheckpointFilesMissing(grpc::ServerContext*, const v1::CommitCheckpointRequest* request,
                                                   v1::CheckpointFilesMissingResponse* response) {
  return AnswerRpc(metrics_, "CheckpointFilesMissing", [&]() -> absl::Status {
    const auto missing =
        scheduler_.checkpoints().FilesMissing({request->job(), request->fence()}, request->checkpoint());
    RETURN_IF_ERROR(AsStaleLease(missing.status()));
    response->mutable_paths()->Assign(missing->begin(), missing->end());
    return absl::OkStatus();
  });
}

grpc::Status WorkerService::DownloadCheckpoint(grpc::ServerContext* context,
                                               const v1::DownloadCheckpointRequest* request,
                                               grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) {
  return AnswerRpc(metrics_, "DownloadCheckpoint", [&] { return Download(*context, *request, *writer); });
}

absl::Status WorkerService::Download(const grpc::ServerContext& context, const v1::DownloadCheckpointRequest& request,
                                     grpc::ServerWriter<v1::DownloadCheckpointResponse>& writer) {
  const auto file = scheduler_.checkpoints().Open({request.job(), request.fence()}, request.path());
  RETURN_IF_ERROR(AsStaleLease(file.status()));
  if (request.offset() < 0 || static_cast<uint64_t>(request.offset()) > file->bytes->size_bytes()) {
    return WithField(ReasonError(absl::StatusCode::kOutOfRange, "OFFSET_BEYOND_END",
                                 absl::StrFormat("offset is %d, %s has %d bytes", request.offset(), request.path(),
                                                 file->bytes->size_bytes())),
                     "offset");
  }
  CheckedFile checked(*file->bytes, file->description);
  RETURN_IF_ERROR(checked.SkipTo(static_cast<uint64_t>(request.offset())));
  v1::DownloadCheckpointResponse message;
  while (!checked.at_end()) {
    message.set_offset(static_cast<int64_t>(checked.offset()));
    RETURN_IF_ERROR(checked.Next(message.mutable_data()));
    if (context.IsCancelled() || !writer.Write(message)) return absl::CancelledError("the caller has gone");
  }
  return checked.Check("begin without a checkpoint");
}

}  // namespace quantd
