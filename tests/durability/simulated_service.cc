#include "tests/durability/simulated_service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/logging.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_database.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::QuantJob;

constexpr int64_t kMostWaiting = 6;
constexpr int kMostWaits = 50;

// The same for the same request id, so that a repeated call has the same body.
NewJob JobOfRequest(const std::string& request_id, const std::string& id, absl::Time now) {
  NewJob job;
  job.id = id;
  job.request_id = request_id;
  job.spec.set_model(absl::StrCat("model of ", request_id));
  job.spec.mutable_recipe()->set_preset("rtn");
  job.create_time = now;
  return job;
}

v1::SynchronizeRequest Call(const std::string& worker, int slots) {
  v1::SynchronizeRequest request;
  request.set_worker_id(worker);
  request.set_incarnation("only");
  request.set_slots(slots);
  request.mutable_capabilities()->add_devices("cpu");
  return request;
}

// Weights that no other job has, and a manifest that names them.
struct Result {
  explicit Result(const std::string& model) {
    const std::string weights = absl::StrCat(std::string(9000, 'w'), model);
    Add("model.safetensors", weights);
    Add("manifest.json", absl::StrCat("{\"weights\": \"", Sha256Hex(weights), "\"}"));
    artifact.set_digest(artifact.files(1).sha256());
  }
  void Add(const char* path, const std::string& bytes) {
    v1::ArtifactFile& file = *artifact.add_files();
    file.set_path(path);
    file.set_size_bytes(static_cast<int64_t>(bytes.size()));
    file.set_sha256(Sha256Hex(bytes));
    contents.push_back(bytes);
  }
  v1::Artifact artifact;
  std::vector<std::string> contents;  // of artifact.files(), in order
};

std::string DigestOf(const absl::StatusOr<std::unique_ptr<RandomAccessFile>>& file) {
  if (!file.ok()) return file.status().ToString();
  std::string bytes((*file)->size_bytes(), '\0');
  const absl::Status read = (*file)->Read(0, absl::MakeSpan(bytes));
  return read.ok() ? Sha256Hex(bytes) : read.ToString();
}

}  // namespace

void Promises::Submitted(const std::string& request_id, const std::string& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_by_request_[request_id] = job;
  jobs_.push_back(job);
}

void Promises::Cancelled(const std::string& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  cancelled_.push_back(job);
}

void Promises::Succeeded(const std::string& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  succeeded_.push_back(job);
}

void Promises::Assigned(const std::string& job, int64_t fence) {
  const std::lock_guard<std::mutex> lock(mutex_);
  fences_[job] = std::max(fences_[job], fence);
}

std::string Promises::RandomJob(std::mt19937_64& random) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return jobs_.empty() ? "" : jobs_[random() % jobs_.size()];
}

int Promises::NextNumber() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return next_number_++;
}

SimulatedService::SimulatedService() : disk_(MakeMemoryDir()), vfs_(disk_), files_(disk_) {
  SetMinimumSeverity(static_cast<Severity>(static_cast<int>(Severity::kError) + 1));
}

SimulatedService::~SimulatedService() {
  Stop();
  SetMinimumSeverity(Severity::kInfo);
}

absl::Status SimulatedService::Start() {
  ASSIGN_OR_RETURN(store_, OpenSqliteJobStore(disk_.root(), clock_));
  ASSIGN_OR_RETURN(artifacts_, OpenDirectoryArtifactStore(files_, disk_.root()));
  scheduler_ =
      std::make_unique<Scheduler>(SchedulerOptions{}, SchedulerServices{*store_, *artifacts_, clock_, metrics_});
  RETURN_IF_ERROR(scheduler_->ExtendLeases());
  return scheduler_->DropLeftovers();
}

void SimulatedService::Stop() {
  scheduler_.reset();
  artifacts_.reset();
  store_.reset();
}

absl::Status SimulatedService::SubmitNew() {
  const int number = promises_.NextNumber();
  const std::string request_id = absl::StrCat("request ", number);
  ASSIGN_OR_RETURN(const SubmitResult result,
                   scheduler_->Submit(JobOfRequest(request_id, absl::StrCat("j", number), clock_.Now())));
  promises_.Submitted(request_id, result.record.id);
  return absl::OkStatus();
}

absl::Status SimulatedService::CancelSome(std::mt19937_64& random) {
  const std::string job = promises_.RandomJob(random);
  if (job.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JobRecord record, scheduler_->Cancel(job));
  const JobState state = record.job.state();
  if (state == QuantJob::CANCELLED || state == QuantJob::CANCELLING) promises_.Cancelled(job);
  return absl::OkStatus();
}

absl::Status SimulatedService::WorkOnce(const std::string& worker) {
  ASSIGN_OR_RETURN(const v1::SynchronizeResponse response,
                   scheduler_->Synchronize(Call(worker, /*slots=*/2), [] { return false; }));
  for (const v1::Assignment& assignment : response.assignments()) {
    promises_.Assigned(assignment.job(), assignment.fence());
  }
  for (const v1::Assignment& assignment : response.assignments()) {
    const absl::Status begun = Begin(worker, assignment);
    // Somebody may have cancelled it meanwhile.
    if (ReasonOf(begun) == "STALE_LEASE" || ReasonOf(begun) == "JOB_CANCELLING") continue;
    RETURN_IF_ERROR(begun);
    RETURN_IF_ERROR(Complete(worker, assignment));
  }
  return absl::OkStatus();
}

// A sign of life, then a checkpoint.
absl::Status SimulatedService::Begin(const std::string& worker, const v1::Assignment& assignment) {
  clock_.Advance(absl::Milliseconds(1));
  v1::SynchronizeRequest request = Call(worker, /*slots=*/1);
  v1::RunningJob& running = *request.add_running();
  running.set_job(assignment.job());
  running.set_fence(assignment.fence());
  running.mutable_progress()->set_phase("quantize");
  RETURN_IF_ERROR(scheduler_->Synchronize(request, [] { return false; }).status());
  const Result state(absl::StrCat("state of ", assignment.spec().model()));
  v1::Checkpoint checkpoint;
  v1::ArtifactFile& file = *checkpoint.add_files() = state.artifact.files(0);
  file.set_path("checkpoint.json");
  RETURN_IF_ERROR(Upload(assignment, file, state.contents[0]));
  return scheduler_->checkpoints().Commit({assignment.job(), assignment.fence()}, checkpoint);
}

absl::Status SimulatedService::Complete(const std::string& worker, const v1::Assignment& assignment) {
  const Result result(assignment.spec().model());
  for (int i = 0; i < result.artifact.files_size(); ++i) {
    RETURN_IF_ERROR(Upload(assignment, result.artifact.files(i), result.contents[static_cast<size_t>(i)]));
  }
  v1::SynchronizeRequest request = Call(worker, /*slots=*/0);
  v1::FinishedJob& finished = *request.add_finished();
  finished.set_job(assignment.job());
  finished.set_fence(assignment.fence());
  finished.set_outcome(v1::FinishedJob::OUTCOME_SUCCEEDED);
  *finished.mutable_artifact() = result.artifact;
  ASSIGN_OR_RETURN(const v1::SynchronizeResponse response, scheduler_->Synchronize(request, [] { return false; }));
  if (response.acknowledged_size() == 1) promises_.Succeeded(assignment.job());
  return absl::OkStatus();
}

absl::Status SimulatedService::Upload(const v1::Assignment& assignment, const v1::ArtifactFile& file,
                                      const std::string& bytes) {
  const StagingKey key = {assignment.job(), assignment.fence()};
  ASSIGN_OR_RETURN(const int64_t offset, artifacts_->UploadOffset(key, file.path()));
  ASSIGN_OR_RETURN(const auto upload, artifacts_->BeginUpload(key, file, offset));
  RETURN_IF_ERROR(upload->Append(absl::string_view(bytes).substr(static_cast<size_t>(offset))));
  return upload->Finish();
}

int64_t SimulatedService::Waiting() {
  const auto counts = store_->CountByState();
  if (!counts.ok()) return 0;
  const auto queued = counts->find(QuantJob::QUEUED);
  return queued == counts->end() ? 0 : queued->second;
}

void SimulatedService::RunUntilFailure(uint64_t seed) {
  const auto submit = [&] {
    std::mt19937_64 random(seed);
    while (SubmitNew().ok() && (random() % 8 != 0 || CancelSome(random).ok())) {
      // The workers' steps cost the disk far more than a submission: let them keep up.
      for (int wait = 0; wait < kMostWaits && Waiting() > kMostWaiting && !disk_.failed(); ++wait) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    }
  };
  const auto work = [&](const std::string& worker) {
    while (WorkOnce(worker).ok() && !disk_.failed()) {
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(submit);
  threads.emplace_back(work, "first");
  threads.emplace_back(work, "second");
  for (std::thread& thread : threads) thread.join();
}

void SimulatedService::ExpectPromisesKept() {
  ExpectDatabaseSound();
  for (const auto& [request_id, id] : promises_.jobs_by_request()) ExpectJob(request_id, id);
  for (const std::string& id : promises_.cancelled()) {
    ASSERT_OK_AND_ASSIGN(const JobRecord record, store_->Get(id));
    EXPECT_TRUE(record.job.state() == QuantJob::CANCELLED || record.job.state() == QuantJob::CANCELLING)
        << id << " was cancelled and is " << StateName(record.job.state());
  }
  for (const std::string& id : promises_.succeeded()) {
    ASSERT_OK_AND_ASSIGN(const JobRecord record, store_->Get(id));
    EXPECT_TRUE(IsTerminal(record.job.state())) << id << " was acknowledged, is " << StateName(record.job.state());
  }
  for (const auto& [id, fence] : promises_.fences()) {
    ASSERT_OK_AND_ASSIGN(const JobRecord record, store_->Get(id));
    EXPECT_GE(record.fence, fence) << id << ": a fence would be given out twice";
  }
  ASSERT_OK_AND_ASSIGN(const auto all, store_->List({.limit = 1'000'000}));
  for (const JobRecord& record : all) {
    if (record.job.state() == QuantJob::SUCCEEDED) ExpectResultWhole(record);
    if (record.checkpoint.has_value()) ExpectCheckpointWhole(record);
  }
}

void SimulatedService::ExpectDatabaseSound() {
  ASSERT_OK_AND_ASSIGN(const auto connection,
                       SqliteConnection::Open(JoinPath(disk_.root(), "quantd.db"), /*read_only=*/true));
  for (const char* check : {"PRAGMA integrity_check", "PRAGMA foreign_key_check"}) {
    const auto query = connection->PrepareOnce(check);
    ASSERT_OK_AND_ASSIGN(const bool row, query->Step());
    EXPECT_TRUE(!row || query->Bytes(0) == "ok") << check << ": " << query->Bytes(0);
  }
}

void SimulatedService::ExpectJob(const std::string& request_id, const std::string& id) {
  const NewJob again = JobOfRequest(request_id, "another", clock_.Now());
  ASSERT_OK_AND_ASSIGN(const auto found, store_->FindRequest(kDefaultTenant, request_id, again.spec));
  ASSERT_TRUE(found.has_value()) << id << " was accepted and is gone";
  EXPECT_EQ(found->id, id);
}

void SimulatedService::ExpectResultWhole(const JobRecord& record) {
  for (const v1::ArtifactFile& file : record.job.artifact().files()) {
    EXPECT_EQ(DigestOf(artifacts_->Open(file.sha256())), file.sha256()) << record.id << ": " << file.path();
  }
}

void SimulatedService::ExpectCheckpointWhole(const JobRecord& record) {
  for (const v1::ArtifactFile& file : record.checkpoint->files()) {
    EXPECT_EQ(DigestOf(artifacts_->OpenCheckpointFile(record.id, file.sha256())), file.sha256()) << record.id;
  }
}

}  // namespace quantd
