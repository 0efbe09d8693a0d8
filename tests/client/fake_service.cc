#include "tests/client/fake_service.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quantd {
namespace {

void AddFile(const std::string& path, const std::string& bytes, v1::Artifact* artifact) {
  v1::ArtifactFile* const file = artifact->add_files();
  file->set_path(path);
  file->set_size_bytes(static_cast<int64_t>(bytes.size()));
  file->set_sha256(Sha256Hex(bytes));
  artifact->set_size_bytes(artifact->size_bytes() + file->size_bytes());
}

std::string ManifestOf(const std::map<std::string, std::string>& contents) {
  Json files = Json::array();
  for (const auto& [path, bytes] : contents) {
    files.push_back({{"path", path}, {"size_bytes", bytes.size()}, {"sha256", Sha256Hex(bytes)}});
  }
  return JsonText({{"schema_version", 1}, {"files", files}});
}

template <typename T>
T PopOr(std::deque<T>& queue, T fallback) {
  if (queue.empty()) return fallback;
  T front = std::move(queue.front());
  queue.pop_front();
  return front;
}

}  // namespace

grpc::Status RichError(grpc::StatusCode code, const std::string& reason, const std::string& message,
                       const std::string& field) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("quantd");
  details.add_details()->PackFrom(info);
  if (!field.empty()) {
    google::rpc::BadRequest bad_request;
    bad_request.add_field_violations()->set_field(field);
    details.add_details()->PackFrom(bad_request);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

v1::QuantJob JobAt(const std::string& name, v1::QuantJob::State state, int64_t revision) {
  v1::QuantJob job;
  job.set_name(name);
  job.set_state(state);
  job.set_revision(revision);
  return job;
}

v1::QuantJob& FakeService::AddFinishedJob(const std::string& name) {
  v1::QuantJob job = JobAt(name, v1::QuantJob::SUCCEEDED, 9);
  const std::string manifest = ManifestOf(contents);
  for (const auto& [path, bytes] : contents) AddFile(path, bytes, job.mutable_artifact());
  AddFile("manifest.json", manifest, job.mutable_artifact());
  job.mutable_artifact()->set_digest(Sha256Hex(manifest));
  contents["manifest.json"] = manifest;
  return jobs[name] = job;
}

grpc::Status FakeService::NextFailure() {
  ++calls;
  return PopOr(failures, grpc::Status::OK);
}

grpc::Status FakeService::SubmitQuantJob(grpc::ServerContext*, const v1::SubmitQuantJobRequest* request,
                                         v1::SubmitQuantJobResponse* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  submitted.push_back(*request);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  response->mutable_estimate()->set_bits_per_weight(4.25);
  if (request->validate_only()) return grpc::Status::OK;
  v1::QuantJob job = JobAt(absl::StrCat(request->parent(), "/jobs/j", submitted.size()), v1::QuantJob::QUEUED, 1);
  *job.mutable_spec() = request->spec();
  *response->mutable_job() = job;
  jobs[job.name()] = job;
  return grpc::Status::OK;
}

grpc::Status FakeService::GetQuantJob(grpc::ServerContext*, const v1::GetQuantJobRequest* request, v1::QuantJob* job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  const auto found = jobs.find(request->name());
  if (found == jobs.end()) {
    return RichError(grpc::StatusCode::NOT_FOUND, "JOB_NOT_FOUND", "no job " + request->name());
  }
  *job = found->second;
  return grpc::Status::OK;
}

// Page tokens are the number of jobs already listed.
grpc::Status FakeService::ListQuantJobs(grpc::ServerContext*, const v1::ListQuantJobsRequest* request,
                                        v1::ListQuantJobsResponse* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  listed.push_back(*request);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  const size_t begin = request->page_token().empty() ? 0 : std::stoul(request->page_token());
  size_t index = 0;
  for (const auto& [name, job] : jobs) {
    const bool is_on_page = index >= begin && index < begin + static_cast<size_t>(request->page_size());
    if (is_on_page) *response->add_jobs() = job;
    ++index;
  }
  const size_t end = begin + static_cast<size_t>(response->jobs_size());
  if (end < jobs.size()) response->set_next_page_token(std::to_string(end));
  return grpc::Status::OK;
}

grpc::Status FakeService::CancelQuantJob(grpc::ServerContext* context, const v1::CancelQuantJobRequest* request,
                                         v1::QuantJob* job) {
  v1::GetQuantJobRequest get;
  get.set_name(request->name());
  if (const grpc::Status status = GetQuantJob(context, &get, job); !status.ok()) return status;
  job->set_state(v1::QuantJob::CANCELLED);
  return grpc::Status::OK;
}

grpc::Status FakeService::Change(const std::string& name, const std::function<void(v1::QuantJob&)>& change,
                                 v1::QuantJob* job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  const auto found = jobs.find(name);
  if (found == jobs.end()) return RichError(grpc::StatusCode::NOT_FOUND, "JOB_NOT_FOUND", "no job " + name);
  change(found->second);
  *job = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeService::DeleteQuantJob(grpc::ServerContext*, const v1::DeleteQuantJobRequest* request,
                                         v1::QuantJob* job) {
  const auto mark = [](v1::QuantJob& changed) {
    changed.mutable_delete_time()->set_seconds(1'700'000'000);
    changed.mutable_purge_time()->set_seconds(1'700'086'400);
  };
  return Change(request->name(), mark, job);
}

grpc::Status FakeService::UndeleteQuantJob(grpc::ServerContext*, const v1::UndeleteQuantJobRequest* request,
                                           v1::QuantJob* job) {
  const auto unmark = [](v1::QuantJob& changed) {
    changed.clear_delete_time();
    changed.clear_purge_time();
  };
  return Change(request->name(), unmark, job);
}

grpc::Status FakeService::ListAuditRecords(grpc::ServerContext*, const v1::ListAuditRecordsRequest* request,
                                           v1::ListAuditRecordsResponse* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  for (const auto& [name, job] : jobs) {
    if (!absl::StartsWith(name, request->parent())) continue;
    v1::AuditRecord* const record = response->add_records();
    record->mutable_time()->set_seconds(1'700'000'000);
    record->set_actor("client:10.0.0.7");
    record->set_action("submit");
    record->set_job(name);
  }
  return grpc::Status::OK;
}

grpc::Status FakeService::WatchQuantJob(grpc::ServerContext*, const v1::WatchQuantJobRequest* request,
                                        grpc::ServerWriter<v1::WatchQuantJobResponse>* writer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++calls;
  watched.push_back(*request);
  const WatchScript script =
      PopOr(watches, WatchScript{.jobs = {}, .end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "nothing left")});
  for (const v1::QuantJob& job : script.jobs) {
    v1::WatchQuantJobResponse response;
    *response.mutable_job() = job;
    writer->Write(response);
  }
  return script.end;
}

grpc::Status FakeService::GetQuantReport(grpc::ServerContext*, const v1::GetQuantReportRequest*,
                                         v1::QuantReport* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  *response = report;
  return grpc::Status::OK;
}

grpc::Status FakeService::DownloadArtifact(grpc::ServerContext*, const v1::DownloadArtifactRequest* request,
                                           grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++calls;
  downloads.push_back(*request);
  if (contents.count(request->path()) == 0) {
    return RichError(grpc::StatusCode::NOT_FOUND, "ARTIFACT_FILE_NOT_FOUND", "no file " + request->path());
  }
  return SendFile(*request, PopOr(download_breaks, int64_t{-1}), writer);
}

grpc::Status FakeService::SendFile(const v1::DownloadArtifactRequest& request, int64_t break_after,
                                   grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) {
  const std::string& bytes = contents[request.path()];
  v1::DownloadArtifactResponse chunk;
  chunk.set_size_bytes(static_cast<int64_t>(bytes.size()));
  chunk.set_sha256(Sha256Hex(bytes));
  int64_t offset = request.offset();
  int64_t sent = 0;
  do {
    if (break_after >= 0 && sent >= break_after) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection lost");
    std::string data = bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(chunk_bytes));
    if (damage_downloads && !data.empty()) data[0] = static_cast<char>(data[0] ^ 1);
    chunk.set_offset(offset);
    offset += static_cast<int64_t>(data.size());
    sent += static_cast<int64_t>(data.size());
    chunk.set_data(data);
    chunk.set_done(offset == static_cast<int64_t>(bytes.size()));
    writer->Write(chunk);
    chunk.clear_size_bytes();
    chunk.clear_sha256();
  } while (!chunk.done());
  return grpc::Status::OK;
}

grpc::Status FakeService::ListRecipes(grpc::ServerContext*, const v1::ListRecipesRequest*,
                                      v1::ListRecipesResponse* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const grpc::Status failure = NextFailure(); !failure.ok()) return failure;
  *response = recipes;
  return grpc::Status::OK;
}

FakeServer::FakeServer() {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() {
  server_->Shutdown();
}

QuantdClient FakeServer::Client() const {
  return QuantdClient({.server = address_});
}

}  // namespace quantd
