// Clients that go on whatever happens to the server: they repeat what was not answered, and note what was.
#ifndef QUANTD_TESTS_CRASH_TRAFFIC_CLIENTS_H_
#define QUANTD_TESTS_CRASH_TRAFFIC_CLIENTS_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "quantd/v1/quant_service.grpc.pb.h"
#include "tests/crash/traffic/ledger.h"

namespace quantd::crash {

// Thread-safe.
class Clients {
 public:
  explicit Clients(const std::string& server);

  // One round each; they return within about a second when the server is away.
  void SubmitOne(std::mt19937_64& random);
  // Cancels, deletes, undeletes, gets or lists.
  void ChangeSome(std::mt19937_64& random);
  // Follows an unfinished job for a while, over reconnects: no revision comes twice, none goes back.
  void WatchOne(std::mt19937_64& random, const std::atomic<bool>& stop);

  // Every job that the server has, deleted ones too; false when it did not answer.
  bool ListAll(std::vector<v1::QuantJob>& jobs);

  Ledger& ledger() { return ledger_; }
  // Calls answered with OK.
  int64_t operations() const { return operations_; }

 private:
  grpc::Status Submit(const v1::SubmitQuantJobRequest& request, bool may_fail);
  void Cancel(const std::string& name);
  bool Delete(const std::string& name);
  bool Undelete(const std::string& name);
  void DeleteForAWhile(const std::string& name, bool undelete);
  void Get(const std::string& name);
  void ListNewest();
  bool Note(const grpc::Status& status);

  std::unique_ptr<v1::QuantService::Stub> stub_;
  Ledger ledger_;
  std::atomic<int64_t> operations_{0};
};

}  // namespace quantd::crash

#endif  // QUANTD_TESTS_CRASH_TRAFFIC_CLIENTS_H_
