// Which workers are connected, what they can do, and which of them are not trusted for now. In memory and bounded:
// workers introduce themselves anew after a restart.
#ifndef QUANTD_SERVER_SCHEDULER_WORKER_REGISTRY_H_
#define QUANTD_SERVER_SCHEDULER_WORKER_REGISTRY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "quantd/v1/worker_service.pb.h"
#include "server/scheduler/waiting_workers.h"

namespace quantd {

struct WorkerSummary {
  int connected = 0;
  int64_t idle_slots = 0;
  int64_t busy_slots = 0;
  int64_t draining_slots = 0;
  int64_t quarantined_slots = 0;
  std::vector<std::string> devices = {};                 // that some connected worker has, sorted, each once
  absl::Time oldest_heartbeat = absl::InfiniteFuture();  // infinite future: no worker is connected
};

// Thread-safe.
class WorkerRegistry {
 public:
  // Children that died on so many different jobs, one after the other without a success between, are held to be the
  // worker's fault.
  static constexpr size_t kCrashesToQuarantine = 3;
  // The longest quarantine, in first ones: each is twice as long as the one before.
  static constexpr int kLongestQuarantine = 32;

  struct Options {
    // A worker counts as connected while a call of it is being answered and so long after its last one.
    absl::Duration connected_for = absl::Seconds(15);
    absl::Duration first_quarantine = absl::Seconds(30);
  };
  WorkerRegistry(Clock& clock, Options options) : clock_(clock), options_(options) {}

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

  // What became of a worker's child. True when this puts the worker into quarantine.
  bool RecordCrash(const std::string& worker, const std::string& job);
  void RecordSuccess(const std::string& worker);
  // How many of its slots may be used: none in quarantine, one afterwards until a job has succeeded.
  int UsableSlots(const std::string& worker) const;

  // Whether another connected worker, not in quarantine, could take such a job.
  bool HasAlternative(const std::string& worker, const JobNeeds& needs) const;
  // Why no connected worker could ever take such a job, a phrase for people: the device that none has, the memory that
  // is needed and the most that there is. "" when one could.
  std::string Obstacle(const JobNeeds& needs) const;

  // Why no connected worker takes such a job for now, although one could: what each of them says, or what is held
  // against it. "" when one takes jobs, or none could.
  std::string Reluctance(const JobNeeds& needs) const;

  WorkerSummary Summarize() const;

 private:
  struct Worker {
    std::string incarnation;
    std::deque<std::string> replaced;  // former incarnations
    WorkerOffer whole;                 // what it has when it runs nothing
    int slots = 0;
    int busy = 0;
    bool draining = false;
    std::string unfit;  // why it declines jobs, in its own words
    absl::Time last_seen;
    int calls_inside = 0;
    int64_t calls = 0;
    std::set<std::string> crashed_jobs;  // since its last success, at most kCrashesToQuarantine
    int quarantines = 0;                 // since its last success
    absl::Time quarantined_until = absl::InfinitePast();
  };
  bool IsConnected(const Worker& worker, absl::Time now) const;
  std::vector<const Worker*> Connected() const;  // with mutex_ held
  // For a worker not known yet: forgets those long gone.
  void MakeRoom(absl::Time now);
  bool ForgetOne();

  Clock& clock_;
  const Options options_;
  mutable std::mutex mutex_;
  std::map<std::string, Worker> workers_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_WORKER_REGISTRY_H_
