#include "tests/e2e/small_jobs/calls.h"

#include <grpcpp/create_channel.h>

#include "absl/strings/str_cat.h"
#include "client/request_id.h"

namespace quantd::small_jobs {
namespace {

constexpr char kParent[] = "tenants/default";
constexpr size_t kRemembered = 1000;
constexpr int64_t kCancelEvery = 10;

v1::SubmitQuantJobRequest NewRequest() {
  v1::SubmitQuantJobRequest request;
  request.mutable_spec()->set_model("quantd-tiny-llama");
  request.mutable_spec()->mutable_recipe()->set_preset("rtn");
  request.set_request_id(NewRequestId());
  return request;
}

// Reads a stream to its end, at most `most` messages of it.
template <typename Response>
grpc::Status ReadAll(grpc::ClientContext& context, grpc::ClientReader<Response>& reader, int most) {
  Response response;
  while (reader.Read(&response)) {
    if (--most == 0) context.TryCancel();
  }
  return reader.Finish();
}

}  // namespace

Calls::Calls(const std::string& server)
    : stub_(v1::QuantService::NewStub(grpc::CreateChannel(server, grpc::InsecureChannelCredentials()))),
      again_(NewRequest()) {}

const std::vector<Calls::Turn>& Calls::Turns() {
  static const auto* const turns = new std::vector<Turn>{
      {&Calls::Get, 50},         {&Calls::GetUnknown, 4},     {&Calls::GetMalformed, 2},  {&Calls::List, 4},
      {&Calls::ListFiltered, 4}, {&Calls::ListMalformed, 2},  {&Calls::Watch, 8},         {&Calls::Report, 4},
      {&Calls::Download, 6},     {&Calls::DownloadCutOff, 2}, {&Calls::Audit, 2},         {&Calls::Delete, 2},
      {&Calls::Undelete, 2},     {&Calls::Recipes, 2},        {&Calls::SubmitInvalid, 4}, {&Calls::SubmitAgain, 2},
  };
  return *turns;
}

bool Calls::Submit(int64_t number) {
  grpc::ClientContext context;
  v1::SubmitQuantJobResponse response;
  if (!Note(stub_->SubmitQuantJob(&context, NewRequest(), &response)).ok()) return false;
  ++submitted_;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (jobs_.size() < kRemembered) jobs_.push_back(response.job().name());
    jobs_[static_cast<size_t>(number) % jobs_.size()] = response.job().name();
  }
  if (number % kCancelEvery != 0) return true;
  grpc::ClientContext cancel_context;
  v1::CancelQuantJobRequest cancel;
  cancel.set_name(response.job().name());
  v1::QuantJob job;
  Note(stub_->CancelQuantJob(&cancel_context, cancel, &job));
  return true;
}

void Calls::Other(int64_t number) {
  int all = 0;
  for (const Turn& turn : Turns()) all += turn.share;
  // A stride that meets every turn before it meets one again.
  int left = static_cast<int>(number * 37 % all);
  const auto* turn = Turns().data();
  while (left >= turn->share) left -= (turn++)->share;
  grpc::ClientContext context;
  Note((this->*turn->call)(context, SomeJob(number)));
}

int64_t Calls::Unfinished() {
  grpc::ClientContext context;
  v1::ListQuantJobsRequest request;
  request.set_parent(kParent);
  request.set_page_size(1000);
  request.set_filter("state = QUEUED OR RUNNING OR CANCELLING");
  v1::ListQuantJobsResponse response;
  return stub_->ListQuantJobs(&context, request, &response).ok() ? response.jobs_size() : -1;
}

grpc::Status Calls::Get(grpc::ClientContext& context, const std::string& job) {
  v1::GetQuantJobRequest request;
  request.set_name(job);
  v1::QuantJob response;
  return stub_->GetQuantJob(&context, request, &response);
}

grpc::Status Calls::GetUnknown(grpc::ClientContext& context, const std::string&) {
  return Get(context, absl::StrCat(kParent, "/jobs/q", NewRequestId()));
}

grpc::Status Calls::GetMalformed(grpc::ClientContext& context, const std::string&) {
  return Get(context, std::string(1000, '/'));
}

grpc::Status Calls::List(grpc::ClientContext& context, const std::string&) {
  v1::ListQuantJobsRequest request;
  request.set_parent(kParent);
  v1::ListQuantJobsResponse response;
  return stub_->ListQuantJobs(&context, request, &response);
}

grpc::Status Calls::ListFiltered(grpc::ClientContext& context, const std::string&) {
  v1::ListQuantJobsRequest request;
  request.set_parent(kParent);
  request.set_page_size(5);
  request.set_filter("state = FAILED AND recipe = rtn");
  v1::ListQuantJobsResponse response;
  return stub_->ListQuantJobs(&context, request, &response);
}

grpc::Status Calls::ListMalformed(grpc::ClientContext& context, const std::string&) {
  v1::ListQuantJobsRequest request;
  request.set_parent(kParent);
  request.set_filter(absl::StrCat("state = ", std::string(2000, '(')));
  v1::ListQuantJobsResponse response;
  return stub_->ListQuantJobs(&context, request, &response);
}

// To the job's end, or cut off by the client after the first message.
grpc::Status Calls::Watch(grpc::ClientContext& context, const std::string& job) {
  v1::WatchQuantJobRequest request;
  request.set_name(job);
  return ReadAll(context, *stub_->WatchQuantJob(&context, request), 1);
}

grpc::Status Calls::Report(grpc::ClientContext& context, const std::string& job) {
  v1::GetQuantReportRequest request;
  request.set_name(job);
  v1::QuantReport response;
  return stub_->GetQuantReport(&context, request, &response);
}

grpc::Status Calls::Download(grpc::ClientContext& context, const std::string& job) {
  v1::DownloadArtifactRequest request;
  request.set_name(job);
  request.set_path("model.safetensors");
  return ReadAll(context, *stub_->DownloadArtifact(&context, request), -1);
}

grpc::Status Calls::DownloadCutOff(grpc::ClientContext& context, const std::string& job) {
  v1::DownloadArtifactRequest request;
  request.set_name(job);
  return ReadAll(context, *stub_->DownloadArtifact(&context, request), 1);
}

grpc::Status Calls::Audit(grpc::ClientContext& context, const std::string& job) {
  v1::ListAuditRecordsRequest request;
  request.set_parent(job);
  v1::ListAuditRecordsResponse response;
  return stub_->ListAuditRecords(&context, request, &response);
}

grpc::Status Calls::Delete(grpc::ClientContext& context, const std::string& job) {
  v1::DeleteQuantJobRequest request;
  request.set_name(job);
  v1::QuantJob response;
  return stub_->DeleteQuantJob(&context, request, &response);
}

grpc::Status Calls::Undelete(grpc::ClientContext& context, const std::string& job) {
  v1::UndeleteQuantJobRequest request;
  request.set_name(job);
  v1::QuantJob response;
  return stub_->UndeleteQuantJob(&context, request, &response);
}

grpc::Status Calls::Recipes(grpc::ClientContext& context, const std::string&) {
  v1::ListRecipesResponse response;
  return stub_->ListRecipes(&context, {}, &response);
}

grpc::Status Calls::SubmitInvalid(grpc::ClientContext& context, const std::string&) {
  v1::SubmitQuantJobRequest request = NewRequest();
  request.mutable_spec()->mutable_recipe()->set_preset("no-such-preset");
  v1::SubmitQuantJobResponse response;
  return stub_->SubmitQuantJob(&context, request, &response);
}

grpc::Status Calls::SubmitAgain(grpc::ClientContext& context, const std::string&) {
  v1::SubmitQuantJobResponse response;
  return stub_->SubmitQuantJob(&context, again_, &response);
}

std::string Calls::SomeJob(int64_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (jobs_.empty()) return absl::StrCat(kParent, "/jobs/none");
  return jobs_[static_cast<size_t>(number) * 7919 % jobs_.size()];
}

grpc::Status Calls::Note(const grpc::Status& status) {
  ++calls_;
  const std::lock_guard<std::mutex> lock(mutex_);
  ++codes_[absl::StrCat(status.error_code())];
  return status;
}

std::map<std::string, int64_t> Calls::AnswersByCode() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return codes_;
}

}  // namespace quantd::small_jobs
