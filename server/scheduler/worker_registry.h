// Which workers are connected and what they can do. In memory and bounded: workers introduce themselves anew after a
// restart.
#ifndef QUANTD_SERVER_SCHEDULER_WORKER_REGISTRY_H_
#define QUANTD_SERVER_SCHEDULER_WORKER_REGISTRY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

struct WorkerSummary {
  int connected = 0;
  int64_t idle_slots = 0;
  int64_t busy_slots = 0;
  int64_t draining_slots = 0;
  std::vector<std::string> devices = {};                 // that some connected worker has, sorted, each once
  absl::Time oldest_heartbeat = absl::InfiniteFuture();  // infinite future: no worker is connected
};

// Thread-safe.
class WorkerRegistry {
 public:
  // A worker counts as connected while a call of it is being answered and `connected_for` after its last one.
  WorkerRegistry(Clock& clock, absl::Duration connected_for) : clock_(clock), connected_for_(connected_for) {}

  struct Arrival {
    int64_t call = 0;              // number of the worker's call
    bool new_incarnation = false;  // not the one seen before (or the first since the server's start)
  };
  // A Synchronize call begins. ABORTED WORKER_REPLACED when another process has taken over this worker id since.
  absl::StatusOr<Arrival> Enter(const v1::SynchronizeRequest& request);
  // It ends.
  void Leave(const std::string& worker);
  // Whether no later call of this worker has come: an older one must not take jobs any more.
  bool IsNewest(const std::string& worker, int64_t call) const;

  WorkerSummary Summarize() const;

 private:
  struct Worker {
    std::string incarnation;
    std::deque<std::string> replaced;  // former incarnations
    std::vector<std::string> devices;
    int slots = 0;
    int busy = 0;
    bool draining = false;
    absl::Time last_seen;
    int calls_inside = 0;
    int64_t calls = 0;
  };
  bool IsConnected(const Worker& worker, absl::Time now) const;
  // For a worker not known yet: forgets those long gone.
  void MakeRoom(absl::Time now);
  bool ForgetOne();

  Clock& clock_;
  const absl::Duration connected_for_;
  mutable std::mutex mutex_;
  std::map<std::string, Worker> workers_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_WORKER_REGISTRY_H_
