// Every open watch, served by one thread: it reads each watched job that has changed once, however many watch it, and
// gives its changes to the streams that are idle. No thread waits for a client.
//
// When it is only known that some job has changed, for another server changed it, all watched jobs are read; that takes
// a tenth of the thread's time at most, so news of other servers' changes come later the more jobs are watched.
//
// A client that does not read holds up nobody but itself: when a message has been on its way to it for `patience`, the
// call ends with RESOURCE_EXHAUSTED WATCHER_TOO_SLOW behind that message; after as long again it is cut off without a
// word. Either way the client comes back with the last revision it saw.
#ifndef QUANTD_SERVER_API_WATCH_HUB_H_
#define QUANTD_SERVER_API_WATCH_HUB_H_

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/api/watch_stream.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"

namespace quantd {

struct WatchHubOptions {
  absl::Duration patience = absl::Seconds(10);
};

struct WatchServices {
  JobStore& store;
  Scheduler& scheduler;
  ServiceMetrics& metrics;
  // The job as users see it.
  std::function<v1::QuantJob(v1::QuantJob job)> shown;
};

// Thread-safe. Destroyed after the gRPC server has ended every call.
class WatchHub {
 public:
  WatchHub(WatchHubOptions options, WatchServices services);
  ~WatchHub();

  // The handler of WatchQuantJob.
  grpc::ServerWriteReactor<v1::WatchQuantJobResponse>* Watch(grpc::CallbackServerContext& context,
                                                             const v1::WatchQuantJobRequest& request);

 private:
  struct Watcher {
    std::shared_ptr<WatchStream> stream;
    std::string id = {};    // of the job; empty until the first look
    int64_t revision = 0;   // of the last message given to the stream
    bool changed = true;    // the job has, or may have, since it was last read
    bool terminal = false;  // nothing follows
    absl::Time too_slow_since = absl::InfiniteFuture();
  };
  // What a job's watchers have to be told in this round, by job and the revision they have seen.
  using News = std::map<std::pair<std::string, int64_t>, std::vector<WatchMessage>>;

  // What has happened since the last round.
  struct Happened {
    std::vector<std::shared_ptr<WatchStream>> arrived;
    std::vector<const WatchStream*> gone;
    std::unordered_set<std::string> changed;  // jobs
    bool any_changed = false;                 // which one is not known
    bool idle = false;                        // some stream has become it
  };

  void Run();
  // Waits for it, at most for a round.
  Happened Await();
  void Note(const std::function<void(Happened& happened)>& what);
  void Admit(Happened& happened);
  void MarkChanged(const Happened& happened);
  void Serve(bool all);
  void ServeOne(Watcher& watcher, News& news);
  // Checks the request and gives the first messages.
  absl::Status Begin(Watcher& watcher, News& news);
  absl::Status Continue(Watcher& watcher, News& news);
  absl::StatusOr<std::vector<WatchMessage>> ChangesAfter(const std::string& id, int64_t revision, News& news);
  void Give(Watcher& watcher, std::vector<WatchMessage> messages);
  // True when the stream's client does not read.
  bool CutOffIfSlow(Watcher& watcher);
  WatchMessage Message(v1::QuantJob job) const;

  const WatchHubOptions options_;
  const WatchServices services_;

  std::mutex mutex_;
  std::condition_variable woken_;
  bool noted_ = false;     // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  Happened happened_;      // guarded by mutex_

  // Of the thread alone.
  std::list<Watcher> watchers_;
  bool any_changed_ = false;  // and not all watched jobs have been read since
  absl::Time next_look_at_all_ = absl::InfinitePast();
  absl::Time next_round_ = absl::InfinitePast();
  std::thread thread_;  // last: uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_WATCH_HUB_H_
