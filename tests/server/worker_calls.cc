#include "tests/server/worker_calls.h"

#include "absl/time/clock.h"
#include "core/base/sha256.h"
#include "server/errors/rpc_status.h"
#include "tests/testing/status_matchers.h"

namespace quantd {

v1::ArtifactFile WorkerCallsTest::Describe(const std::string& path, const std::string& bytes) {
  v1::ArtifactFile file;
  file.set_path(path);
  file.set_size_bytes(static_cast<int64_t>(bytes.size()));
  file.set_sha256(Sha256Hex(bytes));
  return file;
}

v1::Checkpoint WorkerCallsTest::Describe(const Files& files, int block) {
  v1::Checkpoint checkpoint;
  checkpoint.mutable_summary()->set_block(block);
  for (const auto& [path, bytes] : files) *checkpoint.add_files() = Describe(path, bytes);
  return checkpoint;
}

absl::Status WorkerCallsTest::Commit(const v1::Assignment& job, const Files& files, int block) {
  v1::CommitCheckpointRequest request;
  request.set_job(job.job());
  request.set_fence(job.fence());
  *request.mutable_checkpoint() = Describe(files, block);
  grpc::ClientContext context;
  v1::CommitCheckpointResponse response;
  return FromRpcStatus(worker_->CommitCheckpoint(&context, request, &response));
}

absl::StatusOr<std::vector<std::string>> WorkerCallsTest::Missing(const v1::Assignment& job, const Files& files) {
  v1::CommitCheckpointRequest request;
  request.set_job(job.job());
  request.set_fence(job.fence());
  *request.mutable_checkpoint() = Describe(files, 0);
  grpc::ClientContext context;
  v1::CheckpointFilesMissingResponse response;
  RETURN_IF_ERROR(FromRpcStatus(worker_->CheckpointFilesMissing(&context, request, &response)));
  return std::vector<std::string>(response.paths().begin(), response.paths().end());
}

absl::Status WorkerCallsTest::UploadAndCommit(const v1::Assignment& job, const Files& files, int block) {
  ASSIGN_OR_RETURN(const std::vector<std::string> missing, Missing(job, files));
  for (const std::string& path : missing) {
    RETURN_IF_ERROR(Upload(job, Describe(path, files.at(path)), files.at(path)));
  }
  return Commit(job, files, block);
}

absl::StatusOr<std::string> WorkerCallsTest::Download(const v1::Assignment& job, const std::string& path,
                                                      int64_t offset) {
  v1::DownloadCheckpointRequest request;
  request.set_job(job.job());
  request.set_fence(job.fence());
  request.set_path(path);
  request.set_offset(offset);
  grpc::ClientContext context;
  const auto reader = worker_->DownloadCheckpoint(&context, request);
  std::string bytes;
  v1::DownloadCheckpointResponse response;
  while (reader->Read(&response)) bytes += response.data();
  RETURN_IF_ERROR(FromRpcStatus(reader->Finish()));
  return bytes;
}

absl::StatusOr<v1::SynchronizeResponse> WorkerCallsTest::Report(const v1::FinishedJob& finished) {
  v1::SynchronizeRequest request;
  request.set_worker_id("w");
  request.set_incarnation("first");
  *request.add_finished() = finished;
  return Synchronize(request);
}

v1::FinishedJob WorkerCallsTest::SuccessOf(const v1::Assignment& job, const v1::Artifact& artifact) {
  v1::FinishedJob finished;
  finished.set_job(job.job());
  finished.set_fence(job.fence());
  finished.set_outcome(v1::FinishedJob::OUTCOME_SUCCEEDED);
  *finished.mutable_artifact() = artifact;
  return finished;
}

void WorkerCallsTest::LoseWorker(const std::string& name) {
  clock_.Advance(absl::Minutes(1));
  const absl::Time patience = absl::Now() + absl::Seconds(20);
  while (Get(name)->state() != v1::QuantJob::QUEUED) {
    ASSERT_LT(absl::Now(), patience) << "the sweeper does not take the lease back";
    absl::SleepFor(absl::Milliseconds(2));
  }
  clock_.Advance(absl::Minutes(10));  // beyond every pause before another attempt
}

}  // namespace quantd
