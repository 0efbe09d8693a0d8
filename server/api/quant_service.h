// QuantService (proto/quantd/v1/quant_service.proto) over the scheduler, the stores and the planner.
#ifndef QUANTD_SERVER_API_QUANT_SERVICE_H_
#define QUANTD_SERVER_API_QUANT_SERVICE_H_

#include <string>

#include "absl/status/status.h"
#include "quantd/v1/quant_service.grpc.pb.h"
#include "server/api/recent_checks.h"
#include "server/api/watch_hub.h"
#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/planner/planner.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"

namespace quantd {

struct QuantServiceParts {
  JobStore& store;
  ArtifactStore& artifacts;
  Scheduler& scheduler;
  Planner& planner;
  ServiceMetrics& metrics;
  Clock& clock;
  v1::ListRecipesResponse catalogue;
  std::string model_root;
  std::string data_root;
  absl::Duration undelete_window = absl::Hours(7 * 24);
  WatchHubOptions watch = {};
};

// Thread-safe: one call a thread, but for the watches, which take none (watch_hub.h).
class QuantService final : public v1::QuantService::WithCallbackMethod_WatchQuantJob<v1::QuantService::Service> {
 public:
  explicit QuantService(QuantServiceParts parts);

  grpc::Status SubmitQuantJob(grpc::ServerContext* context, const v1::SubmitQuantJobRequest* request,
                              v1::SubmitQuantJobResponse* response) override;
  grpc::Status GetQuantJob(grpc::ServerContext* context, const v1::GetQuantJobRequest* request,
                           v1::QuantJob* response) override;
  grpc::Status ListQuantJobs(grpc::ServerContext* context, const v1::ListQuantJobsRequest* request,
                             v1::ListQuantJobsResponse* response) override;
  grpc::Status CancelQuantJob(grpc::ServerContext* context, const v1::CancelQuantJobRequest* request,
                              v1::QuantJob* response) override;
  grpc::Status DeleteQuantJob(grpc::ServerContext* context, const v1::DeleteQuantJobRequest* request,
                              v1::QuantJob* response) override;
  grpc::Status UndeleteQuantJob(grpc::ServerContext* context, const v1::UndeleteQuantJobRequest* request,
                                v1::QuantJob* response) override;
  grpc::Status ListAuditRecords(grpc::ServerContext* context, const v1::ListAuditRecordsRequest* request,
                                v1::ListAuditRecordsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchQuantJobResponse>* WatchQuantJob(grpc::CallbackServerContext* context,
                                                                     const v1::WatchQuantJobRequest* request) override;
  grpc::Status GetQuantReport(grpc::ServerContext* context, const v1::GetQuantReportRequest* request,
                              v1::QuantReport* response) override;
  grpc::Status DownloadArtifact(grpc::ServerContext* context, const v1::DownloadArtifactRequest* request,
                                grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) override;
  grpc::Status ListRecipes(grpc::ServerContext* context, const v1::ListRecipesRequest* request,
                           v1::ListRecipesResponse* response) override;

 private:
  absl::Status Submit(const grpc::ServerContext& context, const v1::SubmitQuantJobRequest& request,
                      v1::SubmitQuantJobResponse* response);
  // All checks of a spec, and the estimate.
  absl::StatusOr<v1::JobEstimate> Check(const v1::QuantJobSpec& spec, absl::Time deadline);
  // What depends on the spec and its files alone.
  absl::StatusOr<v1::JobEstimate> CheckSpec(const v1::QuantJobSpec& spec, absl::Time deadline);
  absl::Status CheckDevice(const v1::QuantJobSpec& spec);
  absl::Status CheckDisk(const v1::JobEstimate& estimate);
  absl::StatusOr<bool> AnswerDuplicate(const std::string& tenant, const v1::SubmitQuantJobRequest& request,
                                       v1::SubmitQuantJobResponse* response);
  absl::Status List(const v1::ListQuantJobsRequest& request, v1::ListQuantJobsResponse* response);
  absl::Status Audit(const v1::ListAuditRecordsRequest& request, v1::ListAuditRecordsResponse* response);
  absl::Status Download(const grpc::ServerContext& context, const v1::DownloadArtifactRequest& request,
                        grpc::ServerWriter<v1::DownloadArtifactResponse>& writer);
  absl::Status Report(const v1::GetQuantReportRequest& request, v1::QuantReport* response);
  // The job as users see it: with its conditions.
  v1::QuantJob Shown(v1::QuantJob job) const;

  QuantServiceParts parts_;
  WatchHub watches_;
  RecentChecks recent_checks_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_QUANT_SERVICE_H_
