// How long jobs take, learned from those that have ended: the plan counts multiply-adds, what one of them costs is
// known only by the workers that there are.
#ifndef QUANTD_SERVER_SCHEDULER_RUN_TIMES_H_
#define QUANTD_SERVER_SCHEDULER_RUN_TIMES_H_

#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "quantd/v1/quant_job.pb.h"
#include "server/store/job_store.h"

namespace quantd {

// Thread-safe.
class RunTimes {
 public:
  // A job of one device is estimated by the last so many of that device: all their seconds over all their
  // multiply-adds, so that small jobs, whose time is mostly overhead, count little.
  static constexpr size_t kRemembered = 32;

  // A job that has succeeded. Those that went on from a checkpoint, or were not estimated, tell nothing.
  void Learn(const v1::QuantJob& job);
  // The newest succeeded jobs of the store, so that a restart forgets nothing.
  absl::Status LearnFrom(JobStore& store);

  // Seconds from the start to the end; 0: nothing is known yet.
  double Estimate(const v1::QuantJobSpec& spec, const v1::JobEstimate& estimate) const;

 private:
  struct Run {
    double multiply_adds = 0;
    double seconds = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, std::deque<Run>> runs_;  // guarded by mutex_; by device, the newest last
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_RUN_TIMES_H_
