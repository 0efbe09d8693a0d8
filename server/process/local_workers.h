// The worker processes that `quantd --local-workers N` runs beside itself.
//
// Each is started again when it ends, after a pause that doubles from 1 s to 30 s and starts over once a worker has
// lasted a minute. They end with the daemon, whatever ends it.
#ifndef QUANTD_SERVER_PROCESS_LOCAL_WORKERS_H_
#define QUANTD_SERVER_PROCESS_LOCAL_WORKERS_H_

#include <sys/types.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace quantd {

class LocalWorkers {
 public:
  // One argument vector a worker; [0] is the program.
  explicit LocalWorkers(std::vector<std::vector<std::string>> commands);
  LocalWorkers(const LocalWorkers&) = delete;
  LocalWorkers& operator=(const LocalWorkers&) = delete;
  // As Stop with no patience.
  ~LocalWorkers();

  // SIGTERM to all, which drains them; SIGKILL to the groups of those that are left after `patience`.
  void Stop(absl::Duration patience);

 private:
  struct Worker {
    std::vector<std::string> command;
    pid_t pid = 0;  // 0: not running
    int pidfd = -1;
    absl::Time started;
    absl::Time start_at = absl::InfinitePast();
    absl::Duration pause = absl::Seconds(1);
  };

  void Supervise();
  void Start(Worker& worker);
  void Collect(Worker& worker);
  absl::Duration UntilNextStart() const;
  // Waits for a worker's end, Stop() or the timeout; true when asked to stop.
  bool WaitForNews(absl::Duration timeout);
  void EndAll();

  std::vector<Worker> workers_;  // of the supervising thread
  int stop_event_;
  absl::Duration patience_ = absl::ZeroDuration();  // written before stop_event_ is raised
  std::thread supervisor_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_PROCESS_LOCAL_WORKERS_H_
