#include "server/api/quant_service.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/api/actor.h"
#include "server/api/find_job.h"
#include "server/api/list_query.h"
#include "server/api/rpc_call.h"

namespace quantd {

QuantService::QuantService(QuantServiceParts parts)
    : parts_(std::move(parts)),
      watches_(parts_.watch, {parts_.store, parts_.scheduler, parts_.metrics,
                              [this](v1::QuantJob job) { return Shown(std::move(job)); }}) {}

v1::QuantJob QuantService::Shown(v1::QuantJob job) const {
  for (std::string& condition : parts_.scheduler.Conditions(job)) job.add_conditions(std::move(condition));
  return job;
}

grpc::Status QuantService::GetQuantJob(grpc::ServerContext*, const v1::GetQuantJobRequest* request,
                                       v1::QuantJob* response) {
  return AnswerRpc(parts_.metrics, "GetQuantJob", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, FindJob(parts_.store, request->name()));
    *response = Shown(std::move(record.job));
    return absl::OkStatus();
  });
}

grpc::Status QuantService::ListQuantJobs(grpc::ServerContext*, const v1::ListQuantJobsRequest* request,
                                         v1::ListQuantJobsResponse* response) {
  return AnswerRpc(parts_.metrics, "ListQuantJobs", [&] { return List(*request, response); });
}

absl::Status QuantService::List(const v1::ListQuantJobsRequest& request, v1::ListQuantJobsResponse* response) {
  ASSIGN_OR_RETURN(const JobQuery query, ParseListRequest(request));
  ASSIGN_OR_RETURN(std::vector<JobRecord> records, parts_.store.List(query));
  if (static_cast<int>(records.size()) == query.limit) {
    records.pop_back();
    response->set_next_page_token(NextPageToken(request, records.back()));
  }
  for (JobRecord& record : records) *response->add_jobs() = Shown(std::move(record.job));
  return absl::OkStatus();
}

grpc::Status QuantService::CancelQuantJob(grpc::ServerContext* context, const v1::CancelQuantJobRequest* request,
                                          v1::QuantJob* response) {
  return AnswerRpc(parts_.metrics, "CancelQuantJob", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, FindJob(parts_.store, request->name()));
    ASSIGN_OR_RETURN(record, parts_.scheduler.Cancel(record.id, ClientActor(context->peer())));
    *response = Shown(std::move(record.job));
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::WatchQuantJobResponse>* QuantService::WatchQuantJob(
    grpc::CallbackServerContext* context, const v1::WatchQuantJobRequest* request) {
  return watches_.Watch(*context, *request);
}

grpc::Status QuantService::GetQuantReport(grpc::ServerContext*, const v1::GetQuantReportRequest* request,
                                          v1::QuantReport* response) {
  return AnswerRpc(parts_.metrics, "GetQuantReport", [&] { return Report(*request, response); });
}

absl::Status QuantService::Report(const v1::GetQuantReportRequest& request, v1::QuantReport* response) {
  ASSIGN_OR_RETURN(const JobRecord record, FindJob(parts_.store, request.name()));
  ASSIGN_OR_RETURN(std::optional<v1::QuantReport> report, parts_.store.Report(record.id));
  if (!report.has_value()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "JOB_NOT_FINISHED",
                       absl::StrFormat("%s is %s; only a job that SUCCEEDED or was REJECTED has a report",
                                       record.job.name(), StateName(record.job.state())));
  }
  *response = *std::move(report);
  return absl::OkStatus();
}

grpc::Status QuantService::ListRecipes(grpc::ServerContext*, const v1::ListRecipesRequest*,
                                       v1::ListRecipesResponse* response) {
  return AnswerRpc(parts_.metrics, "ListRecipes", [&] {
    *response = parts_.catalogue;
    return absl::OkStatus();
  });
}

}  // namespace quantd
