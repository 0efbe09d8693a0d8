// A scheduler over real stores in a temporary folder, with a clock that stands still, and workers that are one call
// each.
#ifndef QUANTD_TESTS_SERVER_SCHEDULER_FIXTURE_H_
#define QUANTD_TESTS_SERVER_SCHEDULER_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/test_paths.h"

namespace quantd {

// Weights and the manifest that refers to them.
struct SmallArtifact {
  explicit SmallArtifact(const std::string& weights = "weights");
  v1::Artifact artifact;
  std::vector<std::string> contents;  // of artifact.files(), in order
};

class SchedulerTest : public testing::Test {
 protected:
  static constexpr absl::Duration kLease = absl::Seconds(15);
  // No pause between attempts is longer: 2 min and a fifth, and two leases in which another worker has precedence.
  static inline const absl::Duration kLongestPause = absl::Seconds(144) + 2 * kLease;

  void SetUp() override { Restart(); }
  // As if the server had been killed and started again on the same folder.
  void Restart();

  void Submit(const std::string& id, const std::string& device = "");
  NewJob NewJobOf(const std::string& id);
  v1::QuantJob Job(const std::string& id);
  JobRecord Record(const std::string& id);

  // A call of `worker` with two slots and device cpu, which does not wait.
  static v1::SynchronizeRequest Request(const std::string& worker);
  v1::SynchronizeResponse Answer(const v1::SynchronizeRequest& request);
  // "job:fence" of each job that the worker is told to start when it calls without any.
  std::vector<std::string> Assigned(const v1::SynchronizeRequest& request);
  // The worker says that it runs `id` with this fence.
  v1::SynchronizeResponse Heartbeat(const std::string& worker, const std::string& id, int64_t fence);
  // The worker says how `id` ended.
  v1::SynchronizeResponse Finish(const std::string& worker, const v1::FinishedJob& finished);
  static v1::FinishedJob Finished(const std::string& id, int64_t fence, v1::FinishedJob::Outcome outcome);
  // Stages every file of a small artifact, as an upload does.
  v1::FinishedJob Uploaded(const std::string& id, int64_t fence, const std::string& weights = "weights");

  const std::string directory_ = MakeTempDir();
  FaultyFileSystem files_{RealFileSystem()};  // of the artifacts
  FakeClock clock_;
  ServiceMetrics metrics_{{"gptq", "rtn"}};
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<Scheduler> scheduler_;
};

// "job:fence" of each entry.
std::vector<std::string> Fences(const google::protobuf::RepeatedPtrField<v1::JobFence>& list);

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_SCHEDULER_FIXTURE_H_
