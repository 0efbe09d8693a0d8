#include "server/api/watch_stream.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "core/base/clock.h"

namespace quantd {

bool WatchStream::idle() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return !ended_ && next_ == queue_.size();
}

absl::Time WatchStream::busy_since() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return busy_since_;
}

// gRPC runs reactions on threads of its own, never within StartWrite or Finish: both may be called under the lock,
// which keeps a write from following the end.
void WatchStream::Send(std::vector<WatchMessage> messages) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ended_ || messages.empty()) return;
  queue_ = std::move(messages);
  next_ = 0;
  busy_since_ = RealClock().Now();
  StartWrite(queue_.front().get());
}

void WatchStream::OnWriteDone(bool ok) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++next_;
    busy_since_ = absl::InfiniteFuture();
    if (ended_ || !ok) {
      next_ = queue_.size();
    } else if (next_ < queue_.size()) {
      busy_since_ = RealClock().Now();
      StartWrite(queue_[next_].get());
      return;
    }
  }
  if (!ok) End(absl::CancelledError("the caller has gone"));
  events_.on_idle();
}

void WatchStream::End(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ended_) return;
  ended_ = true;
  Finish(events_.on_finish(status));
}

void WatchStream::Abort() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!done_) context_.TryCancel();
}

void WatchStream::OnCancel() {
  End(absl::CancelledError("the caller has gone"));
}

void WatchStream::OnDone() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
  }
  const std::shared_ptr<WatchStream> self = std::move(self_);
  events_.on_done(this);
}

}  // namespace quantd
