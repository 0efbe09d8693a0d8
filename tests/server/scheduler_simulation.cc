#include "tests/server/scheduler_simulation.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/base/file_system.h"
#include "server/store/sqlite_database.h"
#include "tests/server/forwarding_artifact_store.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr absl::Duration kSweepPeriod = absl::Seconds(1);

// Files are not what is simulated.
class NoFiles : public ForwardingArtifactStore {
 public:
  using ForwardingArtifactStore::ForwardingArtifactStore;
  absl::Status Publish(const StagingKey&, const v1::Artifact&) override { return absl::OkStatus(); }
  absl::Status DropStaging(const StagingKey&) override { return absl::OkStatus(); }
};

// In memory where the system has such a folder: nobody wants these bytes after the test.
std::string Directory() {
  std::string name = "/dev/shm/quantd-simulation-XXXXXX";
  return mkdtemp(name.data()) != nullptr ? name : MakeTempDir();
}

}  // namespace

SchedulerSimulation::SchedulerSimulation(SchedulerOptions options) : directory_(Directory()) {
  auto store = OpenSqliteJobStore(directory_, clock_);
  EXPECT_OK(store);
  store_ = *std::move(store);
  auto artifacts = OpenDirectoryArtifactStore(RealFileSystem(), directory_);
  EXPECT_OK(artifacts);
  real_artifacts_ = *std::move(artifacts);
  artifacts_ = std::make_unique<NoFiles>(*real_artifacts_);
  scheduler_ = std::make_unique<Scheduler>(options, SchedulerServices{*store_, *artifacts_, clock_, metrics_});
}

SchedulerSimulation::~SchedulerSimulation() {
  scheduler_.reset();
  store_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void SchedulerSimulation::SetTenants(const std::string& json) {
  auto table = TenantTable::Parse(json, "simulation");
  EXPECT_OK(table);
  if (table.ok()) scheduler_->SetTenants(*std::move(table));
}

void SchedulerSimulation::AddWorker(const std::string& id, SimulatedWorker worker) {
  workers_[id] = {.traits = worker, .running = {}};
}

void SchedulerSimulation::SubmitAt(absl::Duration when, SimulatedJob job) {
  At(when, [this, job = std::move(job)] { Submit(job); });
}

void SchedulerSimulation::Run() {
  while (!events_.empty()) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.when;
    clock_.Advance(begin_ + now_ - clock_.Now());
    event.happen();
  }
}

std::vector<const SimulatedRun*> SchedulerSimulation::Starts() const {
  std::vector<const SimulatedRun*> starts(static_cast<size_t>(starts_));
  for (const auto& [id, run] : runs_) {
    if (run.order >= 0) starts[static_cast<size_t>(run.order)] = &run;
  }
  return starts;
}

void SchedulerSimulation::At(absl::Duration when, std::function<void()> happen) {
  events_.push({.when = when, .number = ++made_events_, .happen = std::move(happen)});
}

void SchedulerSimulation::Submit(const SimulatedJob& job) {
  runs_[job.id] = {.job = job, .submitted = now_};
  NewJob submission;
  submission.id = job.id;
  submission.tenant = job.tenant;
  submission.spec.set_model("m");
  submission.spec.mutable_recipe()->set_preset("gptq");
  submission.spec.set_priority(job.priority);
  submission.estimate.set_peak_memory_bytes(job.memory_bytes);
  submission.create_time = clock_.Now();
  EXPECT_OK(scheduler_->Submit(submission));
  for (const auto& [id, worker] : workers_) {
    const bool has_slot = static_cast<int>(worker.running.size()) < worker.traits.slots;
    if (has_slot && Call(id, nullptr) > 0) break;
  }
}

int SchedulerSimulation::Call(const std::string& id, const v1::FinishedJob* finished) {
  const Worker& worker = workers_.at(id);
  v1::SynchronizeRequest request;
  request.set_worker_id(id);
  request.set_incarnation("first");
  request.set_slots(worker.traits.slots);
  request.mutable_capabilities()->add_devices("cpu");
  request.mutable_capabilities()->set_memory_bytes(worker.traits.memory_bytes);
  for (const auto& [job, fence] : worker.running) {
    v1::RunningJob* running = request.add_running();
    running->set_job(job);
    running->set_fence(fence);
  }
  if (finished != nullptr) *request.add_finished() = *finished;
  const auto response = scheduler_->Synchronize(request, [] { return false; });
  EXPECT_OK(response);
  if (!response.ok()) return 0;
  for (const v1::Assignment& assignment : response->assignments()) Start(id, assignment);
  return response->assignments_size();
}

void SchedulerSimulation::Start(const std::string& worker, const v1::Assignment& assignment) {
  SimulatedRun& run = runs_.at(assignment.job());
  run.workers.push_back(worker);
  if (run.order < 0) {
    run.started = now_;
    run.order = starts_++;
  }
  const int64_t fence = assignment.fence();
  workers_.at(worker).running[assignment.job()] = fence;
  At(now_ + run.job.run, [this, worker, job = assignment.job(), fence] { Finish(worker, job, fence); });
}

void SchedulerSimulation::Finish(const std::string& worker, const std::string& job, int64_t fence) {
  SimulatedRun& run = runs_.at(job);
  run.ended = now_;
  workers_.at(worker).running.erase(job);
  v1::FinishedJob finished;
  finished.set_job(job);
  finished.set_fence(fence);
  if (run.job.crashes) {
    finished.set_outcome(v1::FinishedJob::OUTCOME_CRASHED);
    finished.mutable_error()->set_reason("CHILD_CRASHED");
    finished.mutable_error()->set_signal(11);
  } else {
    finished.set_outcome(v1::FinishedJob::OUTCOME_SUCCEEDED);
    finished.mutable_artifact()->set_digest(std::string(64, 'a'));
  }
  Call(worker, &finished);
  if (run.job.crashes && !std::exchange(sweeping_, true)) Sweep();
}

void SchedulerSimulation::Sweep() {
  EXPECT_OK(scheduler_->Sweep());
  const auto counts = store_->CountByState();
  EXPECT_OK(counts);
  const auto queued = counts->find(v1::QuantJob::QUEUED);
  sweeping_ = queued != counts->end() && queued->second > 0;
  if (!sweeping_) return;
  for (const auto& [id, worker] : workers_) {
    if (static_cast<int>(worker.running.size()) < worker.traits.slots) Call(id, nullptr);
  }
  At(now_ + kSweepPeriod, [this] { Sweep(); });
}

}  // namespace quantd
