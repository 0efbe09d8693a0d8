// A WorkerService in this process that does what a test tells it and keeps what the worker says.
#ifndef QUANTD_TESTS_WORKER_FAKE_SERVER_H_
#define QUANTD_TESTS_WORKER_FAKE_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "quantd/v1/worker_service.grpc.pb.h"

namespace quantd {

// Thread-safe.
class FakeServer : public v1::WorkerService::Service {
 public:
  FakeServer();
  ~FakeServer() override;

  std::string address() const;
  // Stops listening and breaks every call; Start() listens on the same port again.
  void Stop();
  void Start();

  // Repeated, as a real server does, until the worker reports the job as running or finished.
  void Assign(const v1::Assignment& assignment);
  // Repeated until the job is reported as finished.
  void Cancel(const std::string& job, int64_t fence);
  // Said in every answer from now on.
  void DeclareStale(const std::string& job, int64_t fence);
  // Synchronize ends with this status from now on.
  void RefuseWorker(const grpc::Status& status);
  // Results are heard but not acknowledged so many times.
  void WithholdAcknowledgements(int times);
  // So many uploads break off with UNAVAILABLE after `bytes` were staged, or are refused as damaged at their end.
  void BreakUploads(int times, size_t bytes);
  void DamageUploads(int times);
  // Every upload ends with this status; OK takes them again.
  void RefuseUploads(const grpc::Status& status);
  // Every upload waits so long at its end.
  void SlowUploads(absl::Duration pause);
  // A checkpoint as an earlier attempt would have left it; path -> bytes. The description for an assignment.
  v1::Checkpoint KeepCheckpoint(const std::string& job, const std::map<std::string, std::string>& files);
  // What is sent of the kept checkpoint's file is something else from now on; sizes stay.
  void TamperWithCheckpoint(const std::string& job, const std::string& path);
  // So many downloads break off with UNAVAILABLE in the middle.
  void BreakDownloads(int times);

  // Wait until the worker has said so; a test fails when it does not within 20 s.
  v1::FinishedJob WaitForResult(const std::string& job);
  v1::RunningJob WaitForRunning(const std::string& job, const std::function<bool(const v1::JobProgress&)>& when);
  bool WaitFor(const std::function<bool()>& condition);

  std::vector<v1::SynchronizeRequest> requests() const;
  // Complete files by path, those of one job and fence.
  std::map<std::string, std::string> files(const std::string& job, int64_t fence) const;
  std::vector<std::string> upload_order() const;  // paths, when complete
  std::vector<int64_t> upload_offsets() const;    // of every attempt
  int count(const std::string& job) const;        // results heard for the job
  // Blocks of the checkpoints that were committed, in order.
  std::vector<int> committed_blocks(const std::string& job) const;
  // Bytes of the newest committed checkpoint by path.
  std::map<std::string, std::string> checkpoint(const std::string& job) const;

 private:
  struct JobAndFence {
    std::string job;
    int64_t fence;
    auto operator<=>(const JobAndFence&) const = default;
  };

  grpc::Status Synchronize(grpc::ServerContext* context, const v1::SynchronizeRequest* request,
                           v1::SynchronizeResponse* response) override;
  grpc::Status UploadArtifact(grpc::ServerContext* context, grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                              v1::UploadArtifactResponse* response) override;
  grpc::Status GetUploadOffset(grpc::ServerContext* context, const v1::GetUploadOffsetRequest* request,
                               v1::GetUploadOffsetResponse* response) override;
  grpc::Status CommitCheckpoint(grpc::ServerContext* context, const v1::CommitCheckpointRequest* request,
                                v1::CommitCheckpointResponse* response) override;
  grpc::Status CheckpointFilesMissing(grpc::ServerContext* context, const v1::CommitCheckpointRequest* request,
                                      v1::CheckpointFilesMissingResponse* response) override;
  grpc::Status DownloadCheckpoint(grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
                                  grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override;
  std::vector<v1::ArtifactFile> MissingFiles(const v1::CommitCheckpointRequest& request);
  void Hear(const v1::SynchronizeRequest& request);
  bool Answer(const v1::SynchronizeRequest& request, v1::SynchronizeResponse& response);

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::vector<v1::SynchronizeRequest> requests_;
  std::vector<v1::Assignment> assignments_;
  std::vector<JobAndFence> cancels_;
  std::vector<JobAndFence> stale_;
  std::vector<v1::FinishedJob> results_;
  std::map<std::string, v1::RunningJob> running_;
  std::map<JobAndFence, std::map<std::string, std::string>> staged_;
  std::map<JobAndFence, std::map<std::string, std::string>> complete_;
  std::vector<std::string> upload_order_;
  std::vector<int64_t> upload_offsets_;
  std::map<std::string, std::vector<v1::Checkpoint>> committed_;            // by job, in order
  std::map<std::string, std::map<std::string, std::string>> checkpointed_;  // job -> digest -> bytes
  absl::Duration upload_pause_ = absl::ZeroDuration();
  int download_breaks_ = 0;
  int withheld_ = 0;
  int breaks_ = 0;
  size_t break_after_ = 0;
  int damages_ = 0;
  std::optional<grpc::Status> worker_refusal_;
  std::optional<grpc::Status> refusal_;  // of uploads
  bool stopping_ = false;
};

// A code with a google.rpc.ErrorInfo, as the real server attaches it.
grpc::Status RichStatus(grpc::StatusCode code, const std::string& reason, const std::string& message);

}  // namespace quantd

#endif  // QUANTD_TESTS_WORKER_FAKE_SERVER_H_
