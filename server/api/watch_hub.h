// Every open watch, served by one thread: it reads each watched job's changes once, however many watch it, and gives
// them to the streams that are idle. No thread waits for a client.
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
    std::string id = {};     // of the job; empty until the first look
    int64_t revision = 0;    // of the last message given to the stream
    uint64_t looked_at = 0;  // generation of the changes when it was last given news
    bool terminal = false;   // nothing follows
    absl::Time too_slow_since = absl::InfiniteFuture();
  };
  // What a job's watchers have to be told in this round, by job and the revision they have seen.
  using News = std::map<std::pair<std::string, int64_t>, std::vector<WatchMessage>>;

  void Run();
  void Wake();
  // One look at every watcher; `generation` is that of the changes.
  void Serve(uint64_t generation);
  void ServeOne(Watcher& watcher, uint64_t generation, News& news);
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
  // Guarded by mutex_.
  bool news_ = false;
  bool stopping_ = false;
  std::vector<std::shared_ptr<WatchStream>> arrived_;
  std::vector<const WatchStream*> gone_;

  std::list<Watcher> watchers_;  // of the thread alone
  std::thread thread_;           // last: uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_WATCH_HUB_H_
