// Room for large jobs. A job that fits a worker, but not beside what the worker runs, would wait for ever while small
// jobs take what becomes free; one worker takes nothing else until the job has room.
#ifndef QUANTD_SERVER_SCHEDULER_ROOM_KEEPER_H_
#define QUANTD_SERVER_SCHEDULER_ROOM_KEEPER_H_

#include <map>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace quantd {

// Thread-safe.
class RoomKeeper {
 public:
  // Whether `worker` keeps room for `job`: one worker at a time does, the first that asks, until it has not asked for
  // `patience`.
  bool Keeps(const std::string& worker, const std::string& job, absl::Time now, absl::Duration patience) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = rooms_.begin(); it != rooms_.end();) it = it->second.until <= now ? rooms_.erase(it) : std::next(it);
    Room& room = rooms_.try_emplace(job, Room{worker, now}).first->second;
    if (room.worker != worker) return false;
    room.until = now + patience;
    return true;
  }

  // The job runs.
  void Release(const std::string& job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    rooms_.erase(job);
  }

 private:
  struct Room {
    std::string worker;
    absl::Time until;
  };
  std::mutex mutex_;
  std::map<std::string, Room> rooms_;  // guarded by mutex_; by job
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_ROOM_KEEPER_H_
