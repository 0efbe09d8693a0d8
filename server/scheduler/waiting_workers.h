// Calls of workers that wait for orders, each woken for a reason of its own.
//
// A job that can be claimed wakes one waiting worker that could take it, not all of them; what concerns one worker
// wakes that one. A woken call scans the queue once. When it did not get the job it was woken for (another order of
// jobs, a limit, a worker to avoid), the next worker that has not scanned since is woken: so no job waits beside a
// worker that could take it, and each event costs each worker one scan at most.
//
//   WaitingWorkers::Place place(waiting, worker_id, offer);
//   place.BeginScan();                      // from here on nothing that becomes claimable is missed
//   ... claim ...
//   place.EndScan(ids that were claimed, what the worker still has);
//   if (place.Wait(absl::Seconds(1))) ...   // scan again
#ifndef QUANTD_SERVER_SCHEDULER_WAITING_WORKERS_H_
#define QUANTD_SERVER_SCHEDULER_WAITING_WORKERS_H_

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantd {

// What a job takes of a worker. Device "auto" fits every worker, "" stands for an unknown job.
struct JobNeeds {
  std::string device;
  int64_t memory_bytes = 0;
  int64_t disk_bytes = 0;
};

// What a worker has for one more job.
struct WorkerOffer {
  bool takes_jobs = false;
  std::vector<std::string> devices = {};
  int64_t memory_bytes = INT64_MAX;
  int64_t disk_bytes = INT64_MAX;
};

bool Fits(const JobNeeds& needs, const WorkerOffer& offer);

// Thread-safe.
class WaitingWorkers {
 public:
  class Place;

  // `job` may be claimed now: wakes one fitting worker.
  void JobArrived(absl::string_view job, const JobNeeds& needs);
  // Jobs may have become claimable, it is not known which: wakes all workers, one after the other.
  void LookAgain();
  // Something for this worker: a cancel, a later call of it.
  void WakeWorker(absl::string_view worker);
  void WakeAll();

 private:
  // The search of a worker for one job, or for any (empty id).
  struct Hunt {
    int64_t number = 0;
    std::string job;
    JobNeeds needs;
  };
  struct Waiter {
    std::string worker;
    WorkerOffer offer;
    int64_t scanned = 0;  // number of the last hunt when its last scan began
    bool called = false;
    std::optional<Hunt> hunt;
    std::condition_variable woken;
  };

  // Gives `hunt` to a waiter that fits and has not scanned since; drops it when there is none: whoever comes later
  // scans anyway. With mutex_ held.
  void Give(Hunt hunt);

  std::mutex mutex_;
  std::list<Waiter> waiters_;  // guarded by mutex_; the longest waiting first
  int64_t hunts_ = 0;          // guarded by mutex_
};

// One waiting call. Used by one thread.
class WaitingWorkers::Place {
 public:
  // Earlier calls of the same worker are woken.
  Place(WaitingWorkers& workers, absl::string_view worker, WorkerOffer offer);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // Whatever became claimable before is seen by the scan that begins; what does so later wakes this place.
  void BeginScan();
  void EndScan(const std::vector<std::string>& claimed, WorkerOffer offer);

  // True when there is a reason to scan, false after `timeout` (real time).
  bool Wait(absl::Duration timeout);

 private:
  WaitingWorkers& workers_;
  std::list<Waiter>::iterator self_;
  std::optional<Hunt> hunt_;  // that this scan answers
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_WAITING_WORKERS_H_
