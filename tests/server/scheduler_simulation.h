// The real scheduler and the real store, a clock that jumps from event to event, and workers that only pretend: hours
// of a busy fleet in seconds.
//
//   SchedulerSimulation simulation({.lease = absl::Hours(24 * 30)});
//   simulation.AddWorker("w", {.slots = 2, .memory_bytes = 64 << 30});
//   simulation.SubmitAt(absl::ZeroDuration(), {.id = "a", .run = absl::Minutes(10)});
//   simulation.Run();
//   simulation.Of("a").started
//
// A waiting worker is asked as soon as a job arrives, one after the other until one takes it, as WaitingWorkers does.
#ifndef QUANTD_TESTS_SERVER_SCHEDULER_SIMULATION_H_
#define QUANTD_TESTS_SERVER_SCHEDULER_SIMULATION_H_

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"
#include "tests/testing/test_paths.h"

namespace quantd {

struct SimulatedJob {
  std::string id;
  std::string tenant = kDefaultTenant;
  int priority = 0;
  absl::Duration run = absl::Minutes(1);
  int64_t memory_bytes = 0;
  bool crashes = false;  // its child dies at the end of each attempt
};

struct SimulatedWorker {
  int slots = 1;
  int64_t memory_bytes = 0;  // 0: plenty
};

// What became of a job.
struct SimulatedRun {
  SimulatedJob job;
  absl::Duration submitted;                           // since the beginning
  absl::Duration started = absl::InfiniteDuration();  // its first attempt
  absl::Duration ended = absl::InfiniteDuration();
  int64_t order = -1;                     // of its first start among those of all jobs
  std::vector<std::string> workers = {};  // of its attempts
};

class SchedulerSimulation {
 public:
  explicit SchedulerSimulation(SchedulerOptions options);
  ~SchedulerSimulation();

  void SetTenants(const std::string& json);
  void AddWorker(const std::string& id, SimulatedWorker worker);
  void SubmitAt(absl::Duration when, SimulatedJob job);
  // Until nothing happens any more.
  void Run();

  const SimulatedRun& Of(const std::string& id) const { return runs_.at(id); }
  const std::map<std::string, SimulatedRun>& runs() const { return runs_; }
  // First starts, in order.
  std::vector<const SimulatedRun*> Starts() const;
  JobStore& store() { return *store_; }

 private:
  struct Event {
    absl::Duration when;
    int64_t number;  // those of one moment in the order in which they were made
    std::function<void()> happen;
    bool operator>(const Event& other) const { return when != other.when ? when > other.when : number > other.number; }
  };
  struct Worker {
    SimulatedWorker traits;
    std::map<std::string, int64_t> running;  // job -> fence
  };

  void At(absl::Duration when, std::function<void()> happen);
  void Submit(const SimulatedJob& job);
  // One call of the worker; starts what it is assigned and returns how many jobs that were.
  int Call(const std::string& id, const v1::FinishedJob* finished);
  void Start(const std::string& worker, const v1::Assignment& assignment);
  void Finish(const std::string& worker, const std::string& job, int64_t fence);
  // As the sweeper, while jobs wait for their next attempt.
  void Sweep();

  const std::string directory_;
  FakeClock clock_;
  const absl::Time begin_ = clock_.Now();
  absl::Duration now_;
  ServiceMetrics metrics_{{"gptq"}};
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<ArtifactStore> real_artifacts_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<std::string, Worker> workers_;
  std::map<std::string, SimulatedRun> runs_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  int64_t made_events_ = 0;
  int64_t starts_ = 0;
  bool sweeping_ = false;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_SCHEDULER_SIMULATION_H_
