#include "tests/e2e/small_jobs/scripted_worker.h"

#include <grpcpp/create_channel.h>

#include <chrono>
#include <functional>

#include "client/request_id.h"
#include "core/base/sha256.h"

namespace quantd::small_jobs {
namespace {

using v1::FinishedJob;

constexpr int kSlots = 4;
constexpr int kPollMs = 2000;

// By turns. A job that is given back comes again, with the next way.
constexpr FinishedJob::Outcome kOutcomes[] = {
    FinishedJob::OUTCOME_SUCCEEDED, FinishedJob::OUTCOME_FAILED,    FinishedJob::OUTCOME_SUCCEEDED,
    FinishedJob::OUTCOME_CRASHED,   FinishedJob::OUTCOME_SUCCEEDED, FinishedJob::OUTCOME_RETURNED,
};

v1::ArtifactFile Describe(const std::string& path, const std::string& bytes) {
  v1::ArtifactFile file;
  file.set_path(path);
  file.set_size_bytes(static_cast<int64_t>(bytes.size()));
  file.set_sha256(Sha256Hex(bytes));
  return file;
}

void FillError(v1::JobError* error) {
  error->set_reason("SCRIPTED");
  error->set_message("as the script says");
  error->set_phase("quantize");
  error->set_log_tail(std::string(4096, 'l'));
}

}  // namespace

ScriptedWorker::ScriptedWorker(const std::string& server, const std::string& id)
    : stub_(v1::WorkerService::NewStub(grpc::CreateChannel(server, grpc::InsecureChannelCredentials()))) {
  request_.set_worker_id(id);
  request_.set_incarnation(NewRequestId());
  request_.mutable_capabilities()->add_devices("cpu");
  request_.mutable_capabilities()->set_memory_bytes(int64_t{1} << 40);
  request_.mutable_capabilities()->set_scratch_bytes(int64_t{1} << 40);
  request_.set_slots(kSlots);
  request_.set_poll_ms(kPollMs);
  thread_ = std::thread([this] { Run(); });
}

ScriptedWorker::~ScriptedWorker() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->TryCancel();
  }
  thread_.join();
}

void ScriptedWorker::Run() {
  while (true) {
    v1::SynchronizeResponse response;
    const grpc::Status status = Synchronize(&response);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
    }
    if (!status.ok()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    acknowledged_ += response.acknowledged_size();
    Forget(response.acknowledged());
    Forget(response.stale());
    for (const v1::Assignment& job : response.assignments()) End(job);
  }
}

grpc::Status ScriptedWorker::Synchronize(v1::SynchronizeResponse* response) {
  grpc::ClientContext context;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return grpc::Status::CANCELLED;
    call_ = &context;
  }
  request_.clear_finished();
  for (const auto& [job, finished] : finished_) *request_.add_finished() = finished;
  const grpc::Status status = stub_->Synchronize(&context, request_, response);
  ++calls_;
  const std::lock_guard<std::mutex> lock(mutex_);
  call_ = nullptr;
  return status;
}

void ScriptedWorker::End(const v1::Assignment& job) {
  const size_t turn = std::hash<std::string>()(job.job()) + static_cast<size_t>(job.fence());
  FinishedJob finished;
  finished.set_job(job.job());
  finished.set_fence(job.fence());
  finished.set_outcome(kOutcomes[turn % std::size(kOutcomes)]);
  if (finished.outcome() == FinishedJob::OUTCOME_SUCCEEDED && !Publish(job, &finished).ok()) {
    finished.set_outcome(FinishedJob::OUTCOME_FAILED);  // cancelled in the meantime
  }
  if (finished.outcome() != FinishedJob::OUTCOME_SUCCEEDED) FillError(finished.mutable_error());
  finished_[job.job()] = finished;
}

grpc::Status ScriptedWorker::Publish(const v1::Assignment& job, FinishedJob* finished) {
  const std::string weights = "weights of " + job.job();
  const std::string manifest = "{\"weights\": \"" + Sha256Hex(weights) + "\"}";
  v1::Artifact* artifact = finished->mutable_artifact();
  *artifact->add_files() = Describe("model.safetensors", weights);
  *artifact->add_files() = Describe("manifest.json", manifest);
  artifact->set_digest(artifact->files(1).sha256());
  finished->mutable_report()->mutable_size()->set_compression_ratio(4);
  const grpc::Status first = Upload(job, artifact->files(0), weights);
  return first.ok() ? Upload(job, artifact->files(1), manifest) : first;
}

grpc::Status ScriptedWorker::Upload(const v1::Assignment& job, const v1::ArtifactFile& file, const std::string& bytes) {
  grpc::ClientContext context;
  v1::UploadArtifactResponse response;
  const auto writer = stub_->UploadArtifact(&context, &response);
  v1::UploadArtifactRequest message;
  message.mutable_header()->set_job(job.job());
  message.mutable_header()->set_fence(job.fence());
  *message.mutable_header()->mutable_file() = file;
  writer->Write(message);
  message.set_data(bytes);
  writer->Write(message);
  writer->WritesDone();
  ++calls_;
  return writer->Finish();
}

void ScriptedWorker::Forget(const google::protobuf::RepeatedPtrField<v1::JobFence>& ended) {
  for (const v1::JobFence& fence : ended) {
    const auto found = finished_.find(fence.job());
    if (found != finished_.end() && found->second.fence() == fence.fence()) finished_.erase(found);
  }
}

}  // namespace quantd::small_jobs
