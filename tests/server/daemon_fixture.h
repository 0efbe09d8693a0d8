// A whole daemon in this process, called over gRPC and HTTP as from outside. Its clock stands still, and the program
// that would look into models is played by FakeQuant.
#ifndef QUANTD_TESTS_SERVER_DAEMON_FIXTURE_H_
#define QUANTD_TESTS_SERVER_DAEMON_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "quantd/v1/quant_service.grpc.pb.h"
#include "quantd/v1/worker_service.grpc.pb.h"
#include "server/daemon/daemon.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/test_paths.h"

namespace quantd {

// Answers `quant recipes` with the presets gptq and rtn, and `quant plan` with `plan`. Thread-safe.
class FakeQuant : public CommandRunner {
 public:
  absl::StatusOr<CommandResult> Run(const std::vector<std::string>& argv, absl::Duration timeout) override;
  static CommandResult Prints(const std::string& output, int exit_code = 0);

  // Set before the calls that need it.
  std::function<CommandResult(absl::Duration timeout)> plan = [](absl::Duration) {
    return Prints(R"({"artifact_bytes": 1000, "bits_per_weight": 4.25})");
  };
  int plans() const;

 private:
  mutable std::mutex mutex_;
  int plans_ = 0;  // guarded by mutex_
};

class DaemonTest : public testing::Test {
 protected:
  DaemonTest();
  void SetUp() override { Start(); }
  // Starts the daemon, after ending the one that ran before.
  void Start();

  // For model "m" with preset gptq: below the roots there are models/m, texts/calibration.txt, texts/evaluation.txt.
  static v1::SubmitQuantJobRequest GoodRequest(const std::string& request_id = "");
  absl::StatusOr<v1::SubmitQuantJobResponse> Submit(const v1::SubmitQuantJobRequest& request);
  // Names of jobs.
  std::string Submitted(const std::string& preset = "gptq", const std::string& model = "m");
  absl::StatusOr<v1::QuantJob> Get(const std::string& name);
  absl::StatusOr<v1::QuantJob> Cancel(const std::string& name);
  absl::StatusOr<v1::ListQuantJobsResponse> List(const v1::ListQuantJobsRequest& request);

  absl::StatusOr<v1::SynchronizeResponse> Synchronize(const v1::SynchronizeRequest& request);
  // The next queued job, started by worker "w"; it must be there.
  v1::Assignment TakeJob();
  absl::Status Upload(const v1::Assignment& job, const v1::ArtifactFile& file, const std::string& bytes);
  // Uploads, publishes and ends the job.
  void Succeed(const v1::Assignment& job, const SmallArtifact& small);

  const std::string directory_ = MakeTempDir();
  FakeClock clock_;
  FakeQuant quant_program_;
  ServerConfig config_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<v1::QuantService::Stub> quant_;
  std::unique_ptr<v1::WorkerService::Stub> worker_;
};

// "a", "b": the name of the job without its parent.
std::string IdOf(const v1::QuantJob& job);

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_DAEMON_FIXTURE_H_
