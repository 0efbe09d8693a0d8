// One connection that hears and tells of changes, between the servers on one database; it also keeps the database's
// clock measured and notices when the database goes away or comes back while nobody asks it anything.
//
// Notifications are hints: they may get lost, double, or come for nothing.
#ifndef QUANTD_SERVER_STORE_POSTGRES_LISTENER_H_
#define QUANTD_SERVER_STORE_POSTGRES_LISTENER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "server/store/database_clock.h"
#include "server/store/postgres_pool.h"

namespace quantd {

// Thread-safe.
class PostgresListener {
 public:
  // `pool` and `clock` must outlive it.
  PostgresListener(PostgresPool& pool, DatabaseClock& clock);
  ~PostgresListener();
  PostgresListener(const PostgresListener&) = delete;

  // Called when another server has told of a change, and after every reconnect, for something may have been missed.
  void SetCallback(std::function<void()> on_change);

  // Tells the others soon; many calls become one notification. Does not wait.
  void Notify();

 private:
  void Run();
  // Until the connection is lost or the end comes.
  void Serve(PostgresConnection& connection);
  absl::Status SendPending(PostgresConnection& connection);
  absl::Status Measure(PostgresConnection& connection);
  // Until something comes from `socket` (< 0: none) or somebody wakes this thread.
  void WaitFor(int socket, absl::Duration timeout);
  void CallBack();

  PostgresPool& pool_;
  DatabaseClock& clock_;
  const int wake_;  // an eventfd
  std::atomic<bool> stopping_{false};
  std::atomic<bool> pending_{false};
  std::mutex mutex_;
  std::function<void()> on_change_;  // guarded by mutex_
  std::thread thread_;               // last: uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_LISTENER_H_
