// Keeps a worker that may be broken from eating the queue: after children of several different jobs crashed in a row it
// takes no work for a while, longer each time, until a job ends well.
//
// One job that crashes again and again does not count: that is the job's fault, and its attempts are limited.
// Thread-compatible.
#ifndef QUANTD_WORKER_AGENT_QUARANTINE_H_
#define QUANTD_WORKER_AGENT_QUARANTINE_H_

#include <chrono>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

struct QuarantineOptions {
  int crashed_jobs = 3;  // different ones in a row
  absl::Duration first_pause = absl::Seconds(30);
  absl::Duration longest_pause = absl::Minutes(10);
};

class Quarantine {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit Quarantine(QuarantineOptions options) : options_(options), pause_(options.first_pause) {}

  // A job of this worker ended.
  void Record(const v1::FinishedJob& finished, TimePoint now);

  // Zero when the worker may take work.
  absl::Duration Left(TimePoint now) const;
  // For people; empty when there is no quarantine.
  std::string Why(TimePoint now) const;

 private:
  const QuarantineOptions options_;
  std::set<std::string> crashed_;  // jobs, since one ended well
  std::string last_error_;
  absl::Duration pause_;
  TimePoint until_;
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_QUARANTINE_H_
