#include "server/store/group_commit.h"

#include <algorithm>

namespace quantd {
namespace {

// Bounds how long the first write of a batch waits for the others: 128 of them take some 10 ms.
constexpr size_t kMaxBatch = 128;

}  // namespace

absl::Status GroupCommit::Run(const SqlBody& body) {
  PendingWrite write = {&body};
  std::unique_lock<std::mutex> lock(mutex_);
  queue_.push_back(&write);
  write.turn.wait(lock, [&] { return write.done || queue_.front() == &write; });
  if (write.done) return write.status;
  const Batch batch(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(std::min(queue_.size(), kMaxBatch)));
  lock.unlock();
  commit_(batch);
  lock.lock();
  // This write stays at the front until the maintenance is over: nobody else may use the connection meanwhile.
  for (PendingWrite* other : batch) {
    if (other == &write) continue;
    other->done = true;
    other->turn.notify_one();
  }
  queue_.erase(queue_.begin() + 1, queue_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
  lock.unlock();
  maintain_();
  lock.lock();
  queue_.pop_front();
  if (!queue_.empty()) queue_.front()->turn.notify_one();
  return write.status;
}

}  // namespace quantd
