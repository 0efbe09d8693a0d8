// Every method of QuantService, by turns, with good and bad arguments.
#ifndef QUANTD_TESTS_E2E_SMALL_JOBS_CALLS_H_
#define QUANTD_TESTS_E2E_SMALL_JOBS_CALLS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "quantd/v1/quant_service.grpc.pb.h"

namespace quantd::small_jobs {

// Thread-safe.
class Calls {
 public:
  explicit Calls(const std::string& server);

  // A new job; every tenth is cancelled at once. False: not accepted.
  bool Submit(int64_t number);
  // One other call, of the kind that is number's turn.
  void Other(int64_t number);
  // Jobs that have not ended; negative when the server did not say.
  int64_t Unfinished();

  int64_t submitted() const { return submitted_; }
  int64_t calls() const { return calls_; }
  // Answers by code, of the calls so far.
  std::map<std::string, int64_t> AnswersByCode();

 private:
  using Kind = grpc::Status (Calls::*)(grpc::ClientContext&, const std::string& job);
  struct Turn {
    Kind call;
    int share;  // of all turns together
  };
  static const std::vector<Turn>& Turns();

  grpc::Status Get(grpc::ClientContext& context, const std::string& job);
  grpc::Status GetUnknown(grpc::ClientContext& context, const std::string& job);
  grpc::Status GetMalformed(grpc::ClientContext& context, const std::string& job);
  grpc::Status List(grpc::ClientContext& context, const std::string& job);
  grpc::Status ListFiltered(grpc::ClientContext& context, const std::string& job);
  grpc::Status ListMalformed(grpc::ClientContext& context, const std::string& job);
  grpc::Status Watch(grpc::ClientContext& context, const std::string& job);
  grpc::Status Report(grpc::ClientContext& context, const std::string& job);
  grpc::Status Download(grpc::ClientContext& context, const std::string& job);
  grpc::Status DownloadCutOff(grpc::ClientContext& context, const std::string& job);
  grpc::Status Audit(grpc::ClientContext& context, const std::string& job);
  grpc::Status Delete(grpc::ClientContext& context, const std::string& job);
  grpc::Status Undelete(grpc::ClientContext& context, const std::string& job);
  grpc::Status Recipes(grpc::ClientContext& context, const std::string& job);
  grpc::Status SubmitInvalid(grpc::ClientContext& context, const std::string& job);
  grpc::Status SubmitAgain(grpc::ClientContext& context, const std::string& job);

  std::string SomeJob(int64_t number);
  grpc::Status Note(const grpc::Status& status);

  const std::unique_ptr<v1::QuantService::Stub> stub_;
  v1::SubmitQuantJobRequest again_;  // the first accepted job's
  std::atomic<int64_t> submitted_{0};
  std::atomic<int64_t> calls_{0};
  std::mutex mutex_;
  std::vector<std::string> jobs_;         // names of the last ones; guarded by mutex_
  std::map<std::string, int64_t> codes_;  // guarded by mutex_
};

}  // namespace quantd::small_jobs

#endif  // QUANTD_TESTS_E2E_SMALL_JOBS_CALLS_H_
