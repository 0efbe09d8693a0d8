#include "client/quantd_client.h"

#include <grpcpp/channel.h>

#include <utility>

#include "client/channel.h"
#include "client/connection.h"
#include "client/request_id.h"
#include "core/base/status.h"

namespace quantd {

using Stub = v1::QuantService::StubInterface;

QuantdClient::QuantdClient(ClientOptions options)
    : connection_(new Connection{
          .server = options.server, .tenant = options.tenant, .timeout = options.timeout, .stub = nullptr}) {
  if (options.channel == nullptr) options.channel = MakeChannel(options.server);
  connection_->stub = v1::QuantService::NewStub(options.channel);
}

QuantdClient::~QuantdClient() = default;

absl::StatusOr<v1::SubmitQuantJobResponse> QuantdClient::Submit(v1::SubmitQuantJobRequest request) {
  if (request.request_id().empty()) request.set_request_id(NewRequestId());
  RETURN_IF_ERROR(connection_->CompleteParent(request.mutable_parent()));
  return connection_->Call(&Stub::SubmitQuantJob, request);
}

absl::StatusOr<v1::QuantJob> QuantdClient::Get(absl::string_view job) {
  return connection_->CallOnJob(&Stub::GetQuantJob, job);
}

absl::StatusOr<v1::ListQuantJobsResponse> QuantdClient::ListPage(v1::ListQuantJobsRequest request) {
  RETURN_IF_ERROR(connection_->CompleteParent(request.mutable_parent()));
  return connection_->Call(&Stub::ListQuantJobs, request);
}

absl::Status QuantdClient::ListAll(v1::ListQuantJobsRequest request,
                                   const std::function<bool(const v1::QuantJob&)>& on_job) {
  for (;;) {
    ASSIGN_OR_RETURN(const v1::ListQuantJobsResponse page, ListPage(request));
    for (const v1::QuantJob& job : page.jobs()) {
      if (!on_job(job)) return absl::OkStatus();
    }
    if (page.next_page_token().empty()) return absl::OkStatus();
    if (page.next_page_token() == request.page_token()) {
      return ReasonError(absl::StatusCode::kInternal, "PAGE_TOKEN_REPEATED",
                         "the server returned the same page token twice; the list cannot be read further");
    }
    request.set_page_token(page.next_page_token());
  }
}

absl::StatusOr<v1::QuantJob> QuantdClient::Cancel(absl::string_view job) {
  return connection_->CallOnJob(&Stub::CancelQuantJob, job);
}

absl::StatusOr<v1::QuantJob> QuantdClient::Delete(absl::string_view job) {
  return connection_->CallOnJob(&Stub::DeleteQuantJob, job);
}

absl::StatusOr<v1::QuantJob> QuantdClient::Undelete(absl::string_view job) {
  return connection_->CallOnJob(&Stub::UndeleteQuantJob, job);
}

absl::StatusOr<v1::ListAuditRecordsResponse> QuantdClient::AuditPage(v1::ListAuditRecordsRequest request) {
  RETURN_IF_ERROR(connection_->CompleteParent(request.mutable_parent()));
  return connection_->Call(&Stub::ListAuditRecords, request);
}

absl::StatusOr<v1::QuantReport> QuantdClient::Report(absl::string_view job) {
  return connection_->CallOnJob(&Stub::GetQuantReport, job);
}

absl::StatusOr<v1::ListRecipesResponse> QuantdClient::Recipes() {
  return connection_->Call(&Stub::ListRecipes, v1::ListRecipesRequest());
}

}  // namespace quantd
