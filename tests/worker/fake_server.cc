#include "tests/worker/fake_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/sha256.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quantd {
namespace {

constexpr std::chrono::seconds kPatience{20};
constexpr std::chrono::milliseconds kTick{5};

}  // namespace

grpc::Status RichStatus(grpc::StatusCode code, const std::string& reason, const std::string& message) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("quantd");
  google::rpc::Status rich;
  rich.set_code(code);
  rich.set_message(message);
  rich.add_details()->PackFrom(info);
  return {code, message, rich.SerializeAsString()};
}

FakeServer::FakeServer() {
  Start();
}

FakeServer::~FakeServer() {
  Stop();
}

std::string FakeServer::address() const {
  return absl::StrCat("127.0.0.1:", port_);
}

void FakeServer::Start() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = false;
  }
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", port_), grpc::InsecureServerCredentials(), &port_);
  builder.SetMaxReceiveMessageSize(16 << 20);  // as the real one
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  ASSERT_NE(server_, nullptr);
}

void FakeServer::Stop() {
  if (server_ == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

void FakeServer::Assign(const v1::Assignment& assignment) {
  const std::lock_guard<std::mutex> lock(mutex_);
  assignments_.push_back(assignment);
  changed_.notify_all();
}

void FakeServer::Cancel(const std::string& job, int64_t fence) {
  const std::lock_guard<std::mutex> lock(mutex_);
  cancels_.push_back({job, fence});
  changed_.notify_all();
}

void FakeServer::DeclareStale(const std::string& job, int64_t fence) {
  const std::lock_guard<std::mutex> lock(mutex_);
  stale_.push_back({job, fence});
  changed_.notify_all();
}

void FakeServer::RefuseWorker(const grpc::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  worker_refusal_ = status;
  changed_.notify_all();
}

void FakeServer::WithholdAcknowledgements(int times) {
  const std::lock_guard<std::mutex> lock(mutex_);
  withheld_ = times;
}

void FakeServer::BreakUploads(int times, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  breaks_ = times;
  break_after_ = bytes;
}

void FakeServer::DamageUploads(int times) {
  const std::lock_guard<std::mutex> lock(mutex_);
  damages_ = times;
}

void FakeServer::RefuseUploads(const grpc::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  refusal_ = status.ok() ? std::nullopt : std::optional(status);
}

void FakeServer::SlowUploads(absl::Duration pause) {
  const std::lock_guard<std::mutex> lock(mutex_);
  upload_pause_ = pause;
}

v1::Checkpoint FakeServer::KeepCheckpoint(const std::string& job, const std::map<std::string, std::string>& files) {
  const std::lock_guard<std::mutex> lock(mutex_);
  v1::Checkpoint checkpoint;
  for (const auto& [path, bytes] : files) {
    v1::ArtifactFile* file = checkpoint.add_files();
    file->set_path(path);
    file->set_size_bytes(static_cast<int64_t>(bytes.size()));
    file->set_sha256(Sha256Hex(bytes));
    checkpointed_[job][file->sha256()] = bytes;
  }
  committed_[job].push_back(checkpoint);
  return checkpoint;
}

void FakeServer::TamperWithCheckpoint(const std::string& job, const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const v1::ArtifactFile& file : committed_[job].back().files()) {
    if (file.path() == path) checkpointed_[job][file.sha256()].assign(static_cast<size_t>(file.size_bytes()), '?');
  }
}

void FakeServer::BreakDownloads(int times) {
  const std::lock_guard<std::mutex> lock(mutex_);
  download_breaks_ = times;
}

bool FakeServer::WaitFor(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, kTick);
  }
  return true;
}

v1::FinishedJob FakeServer::WaitForResult(const std::string& job) {
  EXPECT_TRUE(WaitFor([&] { return count(job) > 0; })) << "no result of " << job;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const v1::FinishedJob& result : results_) {
    if (result.job() == job) return result;
  }
  return {};
}

v1::RunningJob FakeServer::WaitForRunning(const std::string& job,
                                          const std::function<bool(const v1::JobProgress&)>& when) {
  v1::RunningJob found;
  EXPECT_TRUE(WaitFor([&] {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = running_.find(job);
    if (it == running_.end() || !when(it->second.progress())) return false;
    found = it->second;
    return true;
  })) << job
      << " was not seen in the expected state";
  return found;
}

std::vector<v1::SynchronizeRequest> FakeServer::requests() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return requests_;
}

std::map<std::string, std::string> FakeServer::files(const std::string& job, int64_t fence) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = complete_.find({job, fence});
  return it == complete_.end() ? std::map<std::string, std::string>() : it->second;
}

std::vector<std::string> FakeServer::upload_order() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return upload_order_;
}

std::vector<int64_t> FakeServer::upload_offsets() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return upload_offsets_;
}

int FakeServer::count(const std::string& job) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int>(
      std::count_if(results_.begin(), results_.end(), [&](const auto& result) { return result.job() == job; }));
}

std::vector<int> FakeServer::committed_blocks(const std::string& job) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<int> blocks;
  const auto it = committed_.find(job);
  if (it == committed_.end()) return blocks;
  for (const v1::Checkpoint& checkpoint : it->second) blocks.push_back(checkpoint.summary().block());
  return blocks;
}

std::map<std::string, std::string> FakeServer::checkpoint(const std::string& job) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::map<std::string, std::string> files;
  const auto it = committed_.find(job);
  if (it == committed_.end()) return files;
  for (const v1::ArtifactFile& file : it->second.back().files()) {
    files[file.path()] = checkpointed_.at(job).at(file.sha256());
  }
  return files;
}

std::vector<v1::ArtifactFile> FakeServer::MissingFiles(const v1::CommitCheckpointRequest& request) {
  std::vector<v1::ArtifactFile> missing;
  for (const v1::ArtifactFile& file : request.checkpoint().files()) {
    const auto& uploaded = complete_[{request.job(), request.fence()}];
    const auto found = uploaded.find(file.path());
    const bool here = found != uploaded.end() && Sha256Hex(found->second) == file.sha256();
    if (here) checkpointed_[request.job()][file.sha256()] = found->second;
    if (checkpointed_[request.job()].count(file.sha256()) == 0) missing.push_back(file);
  }
  return missing;
}

grpc::Status FakeServer::CheckpointFilesMissing(grpc::ServerContext*, const v1::CommitCheckpointRequest* request,
                                                v1::CheckpointFilesMissingResponse* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const v1::ArtifactFile& file : MissingFiles(*request)) response->add_paths(file.path());
  return grpc::Status::OK;
}

grpc::Status FakeServer::CommitCheckpoint(grpc::ServerContext*, const v1::CommitCheckpointRequest* request,
                                          v1::CommitCheckpointResponse*) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!MissingFiles(*request).empty()) {
    return RichStatus(grpc::StatusCode::FAILED_PRECONDITION, "CHECKPOINT_INCOMPLETE", "files are missing");
  }
  committed_[request->job()].push_back(request->checkpoint());
  changed_.notify_all();
  return grpc::Status::OK;
}

grpc::Status FakeServer::DownloadCheckpoint(grpc::ServerContext*, const v1::DownloadCheckpointRequest* request,
                                            grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) {
  std::string bytes;
  bool breaks = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const v1::ArtifactFile& file : committed_[request->job()].back().files()) {
      if (file.path() == request->path()) bytes = checkpointed_[request->job()][file.sha256()];
    }
    breaks = download_breaks_ > 0 && download_breaks_-- > 0;
  }
  const auto from = static_cast<size_t>(request->offset());
  v1::DownloadCheckpointResponse response;
  response.set_offset(request->offset());
  response.set_data(bytes.substr(from, breaks ? (bytes.size() - from) / 2 : std::string::npos));
  writer->Write(response);
  return breaks ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the line broke") : grpc::Status::OK;
}

void FakeServer::Hear(const v1::SynchronizeRequest& request) {
  requests_.push_back(request);
  const auto told = [this](const std::string& job, int64_t fence) {
    std::erase_if(assignments_, [&](const auto& one) { return one.job() == job && one.fence() == fence; });
  };
  running_.clear();
  for (const v1::RunningJob& running : request.running()) {
    told(running.job(), running.fence());
    running_[running.job()] = running;
  }
  for (const v1::FinishedJob& finished : request.finished()) {
    told(finished.job(), finished.fence());
    std::erase(cancels_, JobAndFence{finished.job(), finished.fence()});
    results_.push_back(finished);
  }
  changed_.notify_all();
}

bool FakeServer::Answer(const v1::SynchronizeRequest& request, v1::SynchronizeResponse& response) {
  response.Clear();
  response.set_next_call_ms(20);
  const auto add = [](const JobAndFence& from, v1::JobFence* to) {
    to->set_job(from.job);
    to->set_fence(from.fence);
  };
  for (const v1::Assignment& assignment : assignments_) *response.add_assignments() = assignment;
  for (const JobAndFence& one : cancels_) add(one, response.add_cancel());
  for (const JobAndFence& one : stale_) add(one, response.add_stale());
  const bool withhold = request.finished_size() > 0 && withheld_ > 0 && withheld_-- > 0;
  for (const v1::FinishedJob& finished : request.finished()) {
    if (!withhold) add({finished.job(), finished.fence()}, response.add_acknowledged());
  }
  return response.assignments_size() + response.cancel_size() + response.stale_size() + request.finished_size() > 0;
}

grpc::Status FakeServer::Synchronize(grpc::ServerContext* context, const v1::SynchronizeRequest* request,
                                     v1::SynchronizeResponse* response) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(request->poll_ms());
  std::unique_lock<std::mutex> lock(mutex_);
  Hear(*request);
  while (!Answer(*request, *response)) {
    if (worker_refusal_.has_value()) return *worker_refusal_;
    if (stopping_ || context->IsCancelled()) return {grpc::StatusCode::UNAVAILABLE, "stopping"};
    if (std::chrono::steady_clock::now() >= until) break;
    changed_.wait_for(lock, kTick);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetUploadOffset(grpc::ServerContext*, const v1::GetUploadOffsetRequest* request,
                                         v1::GetUploadOffsetResponse* response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const JobAndFence key{request->job(), request->fence()};
  response->set_offset(static_cast<int64_t>(staged_[key][request->path()].size()));
  return grpc::Status::OK;
}

grpc::Status FakeServer::UploadArtifact(grpc::ServerContext*, grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                                        v1::UploadArtifactResponse* response) {
  v1::UploadArtifactRequest message;
  if (!reader->Read(&message) || !message.has_header()) return {grpc::StatusCode::INVALID_ARGUMENT, "no header"};
  const v1::UploadArtifactRequest::Header header = message.header();
  const JobAndFence key{header.job(), header.fence()};
  const std::string& path = header.file().path();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    upload_offsets_.push_back(header.offset());
    if (refusal_.has_value()) return *refusal_;
    if (header.offset() == 0) staged_[key][path].clear();
    if (header.offset() != static_cast<int64_t>(staged_[key][path].size())) {
      return {grpc::StatusCode::OUT_OF_RANGE, "wrong offset"};
    }
  }
  while (reader->Read(&message)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string& bytes = staged_[key][path];
    bytes += message.data();
    if (breaks_ > 0 && bytes.size() > break_after_) {
      --breaks_;
      bytes.resize(break_after_);
      return {grpc::StatusCode::UNAVAILABLE, "the line broke"};
    }
  }
  absl::Duration pause;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    pause = upload_pause_;
  }
  absl::SleepFor(pause);
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string& bytes = staged_[key][path];
  if ((damages_ > 0 && damages_-- > 0) || Sha256Hex(bytes) != header.file().sha256()) {
    bytes.clear();
    return RichStatus(grpc::StatusCode::DATA_LOSS, "DIGEST_MISMATCH", "the digest differs");
  }
  complete_[key][path] = bytes;
  upload_order_.push_back(path);
  response->set_size_bytes(static_cast<int64_t>(bytes.size()));
  return grpc::Status::OK;
}

}  // namespace quantd
