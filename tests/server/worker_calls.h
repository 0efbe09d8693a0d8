// The calls of a worker about a job, made one by one as a test wants them: also the wrong ones.
#ifndef QUANTD_TESTS_SERVER_WORKER_CALLS_H_
#define QUANTD_TESTS_SERVER_WORKER_CALLS_H_

#include <map>
#include <string>
#include <vector>

#include "tests/server/daemon_fixture.h"

namespace quantd {

class WorkerCallsTest : public DaemonTest {
 protected:
  using Files = std::map<std::string, std::string>;  // path -> bytes

  static v1::ArtifactFile Describe(const std::string& path, const std::string& bytes);
  static v1::Checkpoint Describe(const Files& files, int block);

  absl::Status Commit(const v1::Assignment& job, const Files& files, int block);
  absl::StatusOr<std::vector<std::string>> Missing(const v1::Assignment& job, const Files& files);
  absl::Status UploadAndCommit(const v1::Assignment& job, const Files& files, int block);
  absl::StatusOr<std::string> Download(const v1::Assignment& job, const std::string& path, int64_t offset = 0);
  // A Synchronize of worker "w" with one result, which is told as it is.
  absl::StatusOr<v1::SynchronizeResponse> Report(const v1::FinishedJob& finished);
  static v1::FinishedJob SuccessOf(const v1::Assignment& job, const v1::Artifact& artifact);

  // The worker dies: returns when the job waits for another and may be claimed at once.
  void LoseWorker(const std::string& name);
};

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_WORKER_CALLS_H_
