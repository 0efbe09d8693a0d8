// QuantService::SubmitQuantJob: every check, the estimate, and only then the queue.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "server/api/actor.h"
#include "server/api/quant_service.h"
#include "server/api/resource_names.h"
#include "server/api/rpc_call.h"
#include "server/api/spec_validation.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

// The label `outcome` of quantd_jobs_submitted_total.
const char* SubmitOutcome(const absl::Status& status, bool duplicate) {
  if (status.ok()) return duplicate ? "duplicate" : "accepted";
  if (status.code() == absl::StatusCode::kResourceExhausted) return "quota";
  const bool retryable = status.code() == absl::StatusCode::kUnavailable ||
                         status.code() == absl::StatusCode::kDeadlineExceeded ||
                         status.code() == absl::StatusCode::kInternal;
  return retryable ? "unavailable" : "invalid";
}

absl::Status CheckRequestId(const std::string& request_id) {
  if (request_id.empty() || IsUuid(request_id)) return absl::OkStatus();
  return WithField(
      InvalidInput("REQUEST_ID_INVALID",
                   "request_id is no UUID like 123e4567-e89b-42d3-a456-426614174000; leave it empty or make "
                   "a new one for each job"),
      "request_id");
}

}  // namespace

grpc::Status QuantService::SubmitQuantJob(grpc::ServerContext* context, const v1::SubmitQuantJobRequest* request,
                                          v1::SubmitQuantJobResponse* response) {
  return AnswerRpc(parts_.metrics, "SubmitQuantJob", [&] {
    const absl::Status status = Submit(*context, *request, response);
    if (!request->validate_only()) {
      parts_.metrics.Increment(Metric::kJobsSubmitted,
                               {request->spec().recipe().preset(), SubmitOutcome(status, response->duplicate())});
    }
    return status;
  });
}

absl::Status QuantService::Submit(const grpc::ServerContext& context, const v1::SubmitQuantJobRequest& request,
                                  v1::SubmitQuantJobResponse* response) {
  ASSIGN_OR_RETURN(const std::string tenant, ParseParent(request.parent()));
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (!request.validate_only()) {
    // Before the checks: a retry gets its job even when the model has been moved away since.
    ASSIGN_OR_RETURN(const bool answered, AnswerDuplicate(tenant, request, response));
    if (answered) return absl::OkStatus();
  }
  // Before the checks too, which take a process: refusing must stay cheap.
  if (!request.validate_only()) RETURN_IF_ERROR(parts_.scheduler.Admit(tenant));
  ASSIGN_OR_RETURN(*response->mutable_estimate(), Check(request.spec(), DeadlineOf(context)));
  if (request.validate_only()) return absl::OkStatus();
  NewJob job;
  job.id = RandomJobId();
  job.tenant = tenant;
  job.spec = request.spec();
  job.estimate = response->estimate();
  job.actor = ClientActor(context.peer());
  job.request_id = request.request_id();
  job.create_time = parts_.clock.Now();
  ASSIGN_OR_RETURN(SubmitResult result, parts_.scheduler.Submit(job));
  *response->mutable_job() = Shown(std::move(result.record.job));
  response->set_duplicate(result.duplicate);
  return absl::OkStatus();
}

absl::StatusOr<bool> QuantService::AnswerDuplicate(const std::string& tenant, const v1::SubmitQuantJobRequest& request,
                                                   v1::SubmitQuantJobResponse* response) {
  ASSIGN_OR_RETURN(std::optional<JobRecord> known,
                   parts_.store.FindRequest(tenant, request.request_id(), request.spec()));
  if (!known.has_value()) return false;
  *response->mutable_job() = Shown(std::move(known->job));
  *response->mutable_estimate() = response->job().estimate();
  response->set_duplicate(true);
  return true;
}

absl::StatusOr<v1::JobEstimate> QuantService::Check(const v1::QuantJobSpec& spec, absl::Time deadline) {
  ASSIGN_OR_RETURN(v1::JobEstimate estimate, CheckSpec(spec, deadline));
  RETURN_IF_ERROR(CheckDevice(spec));
  RETURN_IF_ERROR(CheckDisk(estimate));
  parts_.scheduler.EstimateTime(spec, estimate);
  return estimate;
}

absl::StatusOr<v1::JobEstimate> QuantService::CheckSpec(const v1::QuantJobSpec& spec, absl::Time deadline) {
  const std::string key = spec.SerializeAsString();
  if (std::optional<v1::JobEstimate> known = recent_checks_.Find(key)) return *std::move(known);
  RETURN_IF_ERROR(ValidateSpec(spec));
  RETURN_IF_ERROR(CheckPaths(spec, parts_.model_root, parts_.data_root));
  ASSIGN_OR_RETURN(v1::JobEstimate estimate, parts_.planner.Plan(spec, deadline));
  recent_checks_.Put(key, estimate);
  return estimate;
}

absl::Status QuantService::CheckDevice(const v1::QuantJobSpec& spec) {
  if (parts_.scheduler.has_other_servers()) return absl::OkStatus();  // it may be there
  const std::string device = DeviceOf(spec);
  const WorkerSummary workers = parts_.scheduler.workers().Summarize();
  const bool there = std::find(workers.devices.begin(), workers.devices.end(), device) != workers.devices.end();
  if (device == "auto" || there || workers.connected == 0) return absl::OkStatus();
  return WithField(
      ReasonError(absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE",
                  absl::StrFormat("no connected worker has device %s; they have: %s. Start a worker on such "
                                  "a machine, or choose device auto",
                                  device, absl::StrJoin(workers.devices, ", "))),
      "spec.device");
}

absl::Status QuantService::CheckDisk(const v1::JobEstimate& estimate) {
  ASSIGN_OR_RETURN(const uint64_t free_bytes, parts_.artifacts.FreeBytes());
  if (estimate.artifact_bytes() < 0 || static_cast<uint64_t>(estimate.artifact_bytes()) <= free_bytes) {
    return absl::OkStatus();
  }
  return ReasonError(
      absl::StatusCode::kResourceExhausted, "DISK_FULL",
      absl::StrFormat("the artifact needs about %d bytes, the disk of the data directory has %d free; free "
                      "some space or choose another data directory",
                      estimate.artifact_bytes(), free_bytes));
}

}  // namespace quantd
