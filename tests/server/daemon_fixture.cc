#include "tests/server/daemon_fixture.h"

#include <grpcpp/create_channel.h>

#include "core/base/file_system.h"
#include "server/errors/rpc_status.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kCatalogue[] = R"({"presets": [{"name": "gptq"}, {"name": "rtn"}]})";

// The answer of a unary call of `stub`, or its error with reason and field.
template <typename Response, typename Stub, typename Method, typename Request>
absl::StatusOr<Response> Call(Stub& stub, Method method, const Request& request) {
  grpc::ClientContext context;
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return FromRpcStatus(status);
  return response;
}

}  // namespace

absl::StatusOr<CommandResult> FakeQuant::Run(const std::vector<std::string>& argv, absl::Duration timeout) {
  if (argv.at(1) == "recipes") return Prints(kCatalogue);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++plans_;
  }
  return plan(timeout);
}

CommandResult FakeQuant::Prints(const std::string& output, int exit_code) {
  CommandResult result;
  result.output = output;
  result.exit_code = exit_code;
  return result;
}

int FakeQuant::plans() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return plans_;
}

DaemonTest::DaemonTest() {
  config_.data_dir = directory_ + "/data";
  config_.model_root = directory_ + "/models";
  config_.data_root = directory_ + "/texts";
  config_.listen = config_.http_listen = "127.0.0.1:0";
  config_.quant = "/bin/true";  // must be there, but FakeQuant answers
  config_.sweep_ms = 10;
  EXPECT_OK(RealFileSystem().CreateDirectories(config_.model_root + "/m"));
  EXPECT_OK(RealFileSystem().CreateDirectories(config_.data_root));
  for (const char* text : {"calibration.txt", "evaluation.txt"}) {
    EXPECT_OK(WriteFileDurably(RealFileSystem(), JoinPath(config_.data_root, text), text));
  }
}

void DaemonTest::Start() {
  daemon_.reset();
  auto daemon = Daemon::Start(config_, directory_, {clock_, quant_program_});
  ASSERT_OK(daemon);
  daemon_ = *std::move(daemon);
  const auto channel = grpc::CreateChannel(daemon_->grpc_address(), grpc::InsecureChannelCredentials());
  quant_ = v1::QuantService::NewStub(channel);
  worker_ = v1::WorkerService::NewStub(channel);
}

v1::SubmitQuantJobRequest DaemonTest::GoodRequest(const std::string& request_id) {
  v1::SubmitQuantJobRequest request;
  request.set_request_id(request_id);
  request.mutable_spec()->set_model("m");
  request.mutable_spec()->mutable_recipe()->set_preset("gptq");
  request.mutable_spec()->mutable_calibration()->set_file("calibration.txt");
  request.mutable_spec()->mutable_evaluation()->set_file("evaluation.txt");
  return request;
}

absl::StatusOr<v1::SubmitQuantJobResponse> DaemonTest::Submit(const v1::SubmitQuantJobRequest& request) {
  return Call<v1::SubmitQuantJobResponse>(*quant_, &v1::QuantService::Stub::SubmitQuantJob, request);
}

std::string DaemonTest::Submitted(const std::string& preset, const std::string& model) {
  v1::SubmitQuantJobRequest request = GoodRequest();
  request.mutable_spec()->mutable_recipe()->set_preset(preset);
  request.mutable_spec()->set_model(model);
  const auto response = Submit(request);
  EXPECT_OK(response);
  return response.ok() ? response->job().name() : "";
}

absl::StatusOr<v1::QuantJob> DaemonTest::Get(const std::string& name) {
  v1::GetQuantJobRequest request;
  request.set_name(name);
  return Call<v1::QuantJob>(*quant_, &v1::QuantService::Stub::GetQuantJob, request);
}

absl::StatusOr<v1::QuantJob> DaemonTest::Cancel(const std::string& name) {
  v1::CancelQuantJobRequest request;
  request.set_name(name);
  return Call<v1::QuantJob>(*quant_, &v1::QuantService::Stub::CancelQuantJob, request);
}

absl::StatusOr<v1::ListQuantJobsResponse> DaemonTest::List(const v1::ListQuantJobsRequest& request) {
  return Call<v1::ListQuantJobsResponse>(*quant_, &v1::QuantService::Stub::ListQuantJobs, request);
}

absl::StatusOr<v1::SynchronizeResponse> DaemonTest::Synchronize(const v1::SynchronizeRequest& request) {
  return Call<v1::SynchronizeResponse>(*worker_, &v1::WorkerService::Stub::Synchronize, request);
}

v1::Assignment DaemonTest::TakeJob() {
  v1::SynchronizeRequest request;
  request.set_worker_id("w");
  request.set_incarnation("first");
  request.mutable_capabilities()->add_devices("cpu");
  request.set_slots(1);
  const auto response = Synchronize(request);
  EXPECT_OK(response);
  const bool taken = response.ok() && response->assignments_size() == 1;
  EXPECT_TRUE(taken);
  return taken ? response->assignments(0) : v1::Assignment();
}

absl::Status DaemonTest::Upload(const v1::Assignment& job, const v1::ArtifactFile& file, const std::string& bytes) {
  grpc::ClientContext context;
  v1::UploadArtifactResponse response;
  const auto writer = worker_->UploadArtifact(&context, &response);
  v1::UploadArtifactRequest message;
  message.mutable_header()->set_job(job.job());
  message.mutable_header()->set_fence(job.fence());
  *message.mutable_header()->mutable_file() = file;
  writer->Write(message);
  constexpr size_t kChunk = 1 << 20;
  for (size_t begin = 0; begin < bytes.size(); begin += kChunk) {
    message.set_data(bytes.substr(begin, kChunk));
    writer->Write(message);
  }
  writer->WritesDone();
  return FromRpcStatus(writer->Finish());
}

void DaemonTest::Succeed(const v1::Assignment& job, const SmallArtifact& small) {
  for (int i = 0; i < small.artifact.files_size(); ++i) {
    ASSERT_OK(Upload(job, small.artifact.files(i), small.contents[static_cast<size_t>(i)]));
  }
  v1::SynchronizeRequest request;
  request.set_worker_id("w");
  request.set_incarnation("first");
  v1::FinishedJob* finished = request.add_finished();
  finished->set_job(job.job());
  finished->set_fence(job.fence());
  finished->set_outcome(v1::FinishedJob::OUTCOME_SUCCEEDED);
  *finished->mutable_artifact() = small.artifact;
  finished->mutable_report()->mutable_size()->set_compression_ratio(4);
  // Said again, as workers do, while another thread of the daemon is still busy with the attempt before.
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (true) {
    ASSERT_OK_AND_ASSIGN(const auto response, Synchronize(request));
    if (response.acknowledged_size() == 1) return;
    ASSERT_EQ(response.stale_size(), 0);
    ASSERT_LT(absl::Now(), deadline) << "the result is not acknowledged";
    absl::SleepFor(absl::Milliseconds(1));
  }
}

std::string IdOf(const v1::QuantJob& job) {
  return BaseName(job.name());
}

}  // namespace quantd
