// What the service acknowledged to the clients of a crash test, and what must never change again.
#ifndef QUANTD_TESTS_CRASH_TRAFFIC_LEDGER_H_
#define QUANTD_TESTS_CRASH_TRAFFIC_LEDGER_H_

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "quantd/v1/quant_job.pb.h"

namespace quantd::crash {

struct Submission {
  std::string request_id;  // as its label `request` says
  std::string kind;
  bool may_fail = false;
};

struct AcceptedJob {
  Submission submission;
  bool cancel_acknowledged = false;
  bool delete_tried = false;  // its rows may be gone
  v1::QuantJob::State terminal = v1::QuantJob::STATE_UNSPECIFIED;
  int64_t revision = 0;  // of the newest sight: answers of several calls arrive in any order
  std::string digest;
};

// Thread-safe.
class Ledger {
 public:
  // A job's name came back for this submission: for the second time with another name is a problem.
  void Accepted(const Submission& submission, const std::string& name);
  void CancelAcknowledged(const std::string& name);
  void DeleteTried(const std::string& name);
  // Of an acknowledged deletion: from here on its rows must be there again.
  void UndeleteAcknowledged(const std::string& name);
  // A job as somebody was shown it: checks that it does not leave a terminal state, change its result or fail when it
  // may not.
  void Saw(const v1::QuantJob& job);
  void Problem(const std::string& what);

  // Any job, with `terminal` one that is known to be (or not to be) over; nothing when there is none.
  std::optional<std::string> RandomJob(std::mt19937_64& random, bool terminal);
  int64_t unfinished();

  std::map<std::string, AcceptedJob> jobs();
  std::map<std::string, std::string> digest_by_kind();
  std::vector<std::string> problems();

 private:
  void CheckEnd(const v1::QuantJob& job, AcceptedJob& known);
  void CheckDigest(const v1::QuantJob& job, AcceptedJob& known);

  std::mutex mutex_;
  std::map<std::string, AcceptedJob> jobs_;  // by name
  std::map<std::string, std::string> name_by_request_;
  std::map<std::string, std::string> digest_by_kind_;
  std::vector<std::string> problems_;
};

bool IsTerminal(v1::QuantJob::State state);

}  // namespace quantd::crash

#endif  // QUANTD_TESTS_CRASH_TRAFFIC_LEDGER_H_
