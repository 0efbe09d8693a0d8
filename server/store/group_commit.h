// Many threads, one commit: the writer at the front of the queue does the work of all that wait behind it, and hands
// out their results after the commit that they share.
//
// While one batch is being synced the next one gathers, so the size of batches follows the load without a timer.
#ifndef QUANTD_SERVER_STORE_GROUP_COMMIT_H_
#define QUANTD_SERVER_STORE_GROUP_COMMIT_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "server/store/sql_database.h"

namespace quantd {

// One caller's transaction, waiting for its result.
struct PendingWrite {
  const SqlBody* body;
  absl::Status status = {};
  bool done = false;
  std::condition_variable turn = {};  // done, or at the front
};

class GroupCommit {
 public:
  using Batch = std::vector<PendingWrite*>;

  // `commit` sets the status of every write of the batch. `maintain` runs after each batch, before the next one.
  // Neither runs on two threads at once.
  GroupCommit(std::function<void(const Batch&)> commit, std::function<void()> maintain)
      : commit_(std::move(commit)), maintain_(std::move(maintain)) {}

  // Thread-safe. The result is that of `body` and of the commit that it was part of; `body` may run on another thread.
  absl::Status Run(const SqlBody& body);

 private:
  const std::function<void(const Batch&)> commit_;
  const std::function<void()> maintain_;
  std::mutex mutex_;
  std::deque<PendingWrite*> queue_;  // guarded by mutex_; the front one is working
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_GROUP_COMMIT_H_
