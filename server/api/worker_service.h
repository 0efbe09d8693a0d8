// WorkerService (proto/quantd/v1/worker_service.proto) over the scheduler and the artifact store.
#ifndef QUANTD_SERVER_API_WORKER_SERVICE_H_
#define QUANTD_SERVER_API_WORKER_SERVICE_H_

#include "absl/status/status.h"
#include "quantd/v1/worker_service.grpc.pb.h"
#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/scheduler.h"

namespace quantd {

// Thread-safe: one call a thread.
class WorkerService final : public v1::WorkerService::Service {
 public:
  WorkerService(Scheduler& scheduler, ArtifactStore& artifacts, ServiceMetrics& metrics)
      : scheduler_(scheduler), artifacts_(artifacts), metrics_(metrics) {}

  grpc::Status Synchronize(grpc::ServerContext* context, const v1::SynchronizeRequest* request,
                           v1::SynchronizeResponse* response) override;
  grpc::Status UploadArtifact(grpc::ServerContext* context, grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                              v1::UploadArtifactResponse* response) override;
  grpc::Status GetUploadOffset(grpc::ServerContext* context, const v1::GetUploadOffsetRequest* request,
                               v1::GetUploadOffsetResponse* response) override;
  grpc::Status CommitCheckpoint(grpc::ServerContext* context, const v1::CommitCheckpointRequest* request,
                                v1::CommitCheckpointResponse* response) override;
  grpc::Status CheckpointFilesMissing(grpc::ServerContext* context, const v1::CommitCheckpointRequest* request,
                                      v1::CheckpointFilesMissingResponse* response) override;
  grpc::Status DownloadCheckpoint(grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
                                  grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override;

 private:
  absl::Status Download(const grpc::ServerContext& context, const v1::DownloadCheckpointRequest& request,
                        grpc::ServerWriter<v1::DownloadCheckpointResponse>& writer);
  absl::Status Upload(grpc::ServerReader<v1::UploadArtifactRequest>& reader, v1::UploadArtifactResponse* response);

  Scheduler& scheduler_;
  ArtifactStore& artifacts_;
  ServiceMetrics& metrics_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_WORKER_SERVICE_H_
