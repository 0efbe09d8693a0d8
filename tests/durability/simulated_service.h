// The server without its network, on a simulated disk: job store, artifacts and scheduler, with clients and workers
// that remember what was acknowledged to them.
#ifndef QUANTD_TESTS_DURABILITY_SIMULATED_SERVICE_H_
#define QUANTD_TESTS_DURABILITY_SIMULATED_SERVICE_H_

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"
#include "tests/durability/simulated_vfs.h"
#include "tests/testing/simulated_disk.h"
#include "tests/testing/simulated_file_system.h"
#include "tests/testing/test_paths.h"

namespace quantd {

// What the service has promised. Thread-safe.
class Promises {
 public:
  void Submitted(const std::string& request_id, const std::string& job);
  void Cancelled(const std::string& job);
  void Succeeded(const std::string& job);
  // The highest fence that a worker was given.
  void Assigned(const std::string& job, int64_t fence);
  std::string RandomJob(std::mt19937_64& random);  // empty when there is none
  int NextNumber();

  // Only while no other thread uses it.
  const std::map<std::string, std::string>& jobs_by_request() const { return jobs_by_request_; }
  const std::vector<std::string>& cancelled() const { return cancelled_; }
  const std::vector<std::string>& succeeded() const { return succeeded_; }
  const std::map<std::string, int64_t>& fences() const { return fences_; }

 private:
  std::mutex mutex_;
  int next_number_ = 0;
  std::map<std::string, std::string> jobs_by_request_;
  std::vector<std::string> jobs_;
  std::vector<std::string> cancelled_;
  std::vector<std::string> succeeded_;
  std::map<std::string, int64_t> fences_;
};

class SimulatedService {
 public:
  SimulatedService();  // quiet: what goes wrong here is meant to
  ~SimulatedService();

  absl::Status Start();
  bool running() const { return scheduler_ != nullptr; }
  // Ends it as it is; on a disk that has failed nothing is written any more.
  void Stop();

  // Submits with a new request id.
  absl::Status SubmitNew();
  absl::Status CancelSome(std::mt19937_64& random);
  // A worker's round: takes up to two jobs, gives signs of life, a checkpoint and a result of each.
  absl::Status WorkOnce(const std::string& worker);
  // A client and two workers at once, each until a call of it fails.
  void RunUntilFailure(uint64_t seed);

  // Fails the test unless everything in `promises()` is true and the data directory is sound.
  void ExpectPromisesKept();

  SimulatedDisk& disk() { return disk_; }
  Promises& promises() { return promises_; }
  JobStore& store() { return *store_; }
  ArtifactStore& artifacts() { return *artifacts_; }
  FakeClock& clock() { return clock_; }

 private:
  int64_t Waiting();
  absl::Status Begin(const std::string& worker, const v1::Assignment& assignment);
  absl::Status Complete(const std::string& worker, const v1::Assignment& assignment);
  absl::Status Upload(const v1::Assignment& assignment, const v1::ArtifactFile& file, const std::string& bytes);
  void ExpectDatabaseSound();
  void ExpectJob(const std::string& request_id, const std::string& id);
  void ExpectResultWhole(const JobRecord& record);
  void ExpectCheckpointWhole(const JobRecord& record);

  SimulatedDisk disk_;
  SimulatedVfs vfs_;
  SimulatedFileSystem files_;
  FakeClock clock_;
  ServiceMetrics metrics_{{"gptq", "rtn"}};
  Promises promises_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_DURABILITY_SIMULATED_SERVICE_H_
