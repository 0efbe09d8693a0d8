// A worker that speaks the protocol and computes nothing: each job that it gets ends at once, one in one way, the next
// in another.
#ifndef QUANTD_TESTS_E2E_SMALL_JOBS_SCRIPTED_WORKER_H_
#define QUANTD_TESTS_E2E_SMALL_JOBS_SCRIPTED_WORKER_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "quantd/v1/worker_service.grpc.pb.h"

namespace quantd::small_jobs {

// Works on a thread of its own from construction to destruction.
class ScriptedWorker {
 public:
  ScriptedWorker(const std::string& server, const std::string& id);
  ~ScriptedWorker();
  ScriptedWorker(const ScriptedWorker&) = delete;

  int64_t calls() const { return calls_; }
  // Of attempts that this worker ended, how many the server recorded.
  int64_t acknowledged() const { return acknowledged_; }

 private:
  void Run();
  grpc::Status Synchronize(v1::SynchronizeResponse* response);
  void End(const v1::Assignment& job);
  // Weights that no other job has, and the manifest that names them.
  grpc::Status Publish(const v1::Assignment& job, v1::FinishedJob* finished);
  grpc::Status Upload(const v1::Assignment& job, const v1::ArtifactFile& file, const std::string& bytes);
  void Forget(const google::protobuf::RepeatedPtrField<v1::JobFence>& ended);

  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  v1::SynchronizeRequest request_;
  std::map<std::string, v1::FinishedJob> finished_;  // by job, until acknowledged
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> acknowledged_{0};
  std::mutex mutex_;
  bool stopping_ = false;                // guarded by mutex_
  grpc::ClientContext* call_ = nullptr;  // guarded by mutex_
  std::thread thread_;                   // last: uses all of the above
};

}  // namespace quantd::small_jobs

#endif  // QUANTD_TESTS_E2E_SMALL_JOBS_SCRIPTED_WORKER_H_
