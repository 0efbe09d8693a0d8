#include "tests/server/scheduler_fixture.h"

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "server/store/sqlite_database.h"
#include "tests/testing/status_matchers.h"

namespace quantd {

SmallArtifact::SmallArtifact(const std::string& weights)
    : contents({weights, "{\"weights\": \"" + Sha256Hex(weights) + "\"}"}) {
  for (const char* path : {"model.safetensors", "manifest.json"}) {
    const std::string& bytes = contents[static_cast<size_t>(artifact.files_size())];
    v1::ArtifactFile* file = artifact.add_files();
    file->set_path(path);
    file->set_size_bytes(static_cast<int64_t>(bytes.size()));
    file->set_sha256(Sha256Hex(bytes));
  }
  artifact.set_digest(artifact.files(1).sha256());
}

void SchedulerTest::Restart() {
  scheduler_.reset();
  store_.reset();
  auto store = OpenSqliteJobStore(directory_, clock_);
  ASSERT_OK(store);
  store_ = *std::move(store);
  auto artifacts = OpenDirectoryArtifactStore(files_, directory_);
  ASSERT_OK(artifacts);
  artifacts_ = *std::move(artifacts);
  scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{.lease = kLease},
                                           SchedulerServices{*store_, *artifacts_, clock_, metrics_});
}

NewJob SchedulerTest::NewJobOf(const std::string& id) {
  NewJob job;
  job.id = id;
  job.spec.set_model("m");
  job.spec.mutable_recipe()->set_preset("gptq");
  job.create_time = clock_.Now();
  return job;
}

void SchedulerTest::Submit(const std::string& id, const std::string& device) {
  NewJob job = NewJobOf(id);
  job.spec.set_device(device);
  EXPECT_OK(scheduler_->Submit(job));
}

JobRecord SchedulerTest::Record(const std::string& id) {
  auto record = store_->Get(id);
  EXPECT_OK(record);
  return record.ok() ? *std::move(record) : JobRecord();
}

v1::QuantJob SchedulerTest::Job(const std::string& id) {
  return Record(id).job;
}

v1::SynchronizeRequest SchedulerTest::Request(const std::string& worker) {
  v1::SynchronizeRequest request;
  request.set_worker_id(worker);
  request.set_incarnation("first");
  request.set_slots(2);
  request.mutable_capabilities()->add_devices("cpu");
  return request;
}

v1::SynchronizeResponse SchedulerTest::Answer(const v1::SynchronizeRequest& request) {
  auto response = scheduler_->Synchronize(request, [] { return false; });
  EXPECT_OK(response);
  return response.ok() ? *std::move(response) : v1::SynchronizeResponse();
}

std::vector<std::string> SchedulerTest::Assigned(const v1::SynchronizeRequest& request) {
  const v1::SynchronizeResponse response = Answer(request);
  std::vector<std::string> jobs;
  for (const v1::Assignment& assignment : response.assignments()) {
    jobs.push_back(absl::StrCat(assignment.job(), ":", assignment.fence()));
  }
  return jobs;
}

v1::SynchronizeResponse SchedulerTest::Heartbeat(const std::string& worker, const std::string& id, int64_t fence) {
  v1::SynchronizeRequest request = Request(worker);
  request.set_slots(1);
  v1::RunningJob* running = request.add_running();
  running->set_job(id);
  running->set_fence(fence);
  return Answer(request);
}

v1::SynchronizeResponse SchedulerTest::Finish(const std::string& worker, const v1::FinishedJob& finished) {
  v1::SynchronizeRequest request = Request(worker);
  request.set_slots(0);
  *request.add_finished() = finished;
  return Answer(request);
}

v1::FinishedJob SchedulerTest::Finished(const std::string& id, int64_t fence, v1::FinishedJob::Outcome outcome) {
  v1::FinishedJob finished;
  finished.set_job(id);
  finished.set_fence(fence);
  finished.set_outcome(outcome);
  return finished;
}

v1::FinishedJob SchedulerTest::Uploaded(const std::string& id, int64_t fence, const std::string& weights) {
  const SmallArtifact small(weights);
  for (int i = 0; i < small.artifact.files_size(); ++i) {
    const auto upload = artifacts_->BeginUpload({id, fence}, small.artifact.files(i), 0);
    EXPECT_OK(upload);
    if (!upload.ok()) continue;
    EXPECT_OK((*upload)->Append(small.contents[static_cast<size_t>(i)]));
    EXPECT_OK((*upload)->Finish());
  }
  v1::FinishedJob finished = Finished(id, fence, v1::FinishedJob::OUTCOME_SUCCEEDED);
  *finished.mutable_artifact() = small.artifact;
  finished.mutable_report()->mutable_size()->set_compression_ratio(4);
  return finished;
}

std::vector<std::string> Fences(const google::protobuf::RepeatedPtrField<v1::JobFence>& list) {
  std::vector<std::string> jobs;
  for (const v1::JobFence& entry : list) jobs.push_back(absl::StrCat(entry.job(), ":", entry.fence()));
  return jobs;
}

}  // namespace quantd
