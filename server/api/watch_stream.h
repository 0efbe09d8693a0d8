// One open WatchQuantJob call: what it has sent, what it still has to send, and how it ends.
//
// The stream itself decides nothing: WatchHub gives it messages when it is idle, and it reports when it is idle again.
// Thread-safe; gRPC deletes nothing: the hub and the call itself share it.
#ifndef QUANTD_SERVER_API_WATCH_STREAM_H_
#define QUANTD_SERVER_API_WATCH_STREAM_H_

#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "quantd/v1/quant_service.pb.h"

namespace quantd {

using WatchMessage = std::shared_ptr<const v1::WatchQuantJobResponse>;

class WatchStream final : public grpc::ServerWriteReactor<v1::WatchQuantJobResponse> {
 public:
  struct Events {
    std::function<void()> on_idle;                               // it can take messages again
    std::function<grpc::Status(const absl::Status&)> on_finish;  // translates and counts the end of the call
    std::function<void(const WatchStream*)> on_done;             // gRPC is through with it
  };

  WatchStream(grpc::CallbackServerContext& context, const v1::WatchQuantJobRequest& request, Events events)
      : context_(context), request_(request), events_(std::move(events)) {}

  // Keeps the stream alive until gRPC is through with it.
  void KeepUntilDone(std::shared_ptr<WatchStream> self) { self_ = std::move(self); }

  const v1::WatchQuantJobRequest& request() const { return request_; }

  // No message is on its way and the call has not ended.
  bool idle() const;
  // Since when a message has been on its way; infinite future when none is.
  absl::Time busy_since() const;

  // Sends them one after the other. Only while idle().
  void Send(std::vector<WatchMessage> messages);
  // Ends the call once what is on its way has been sent. The first end counts.
  void End(const absl::Status& status);
  // Ends the call though its client does not read: no status reaches it.
  void Abort();

 private:
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  grpc::CallbackServerContext& context_;
  const v1::WatchQuantJobRequest request_;
  const Events events_;
  std::shared_ptr<WatchStream> self_;

  mutable std::mutex mutex_;
  // Guarded by mutex_. queue_[next_] is on its way, or next_ == queue_.size().
  std::vector<WatchMessage> queue_;
  size_t next_ = 0;
  absl::Time busy_since_ = absl::InfiniteFuture();
  bool ended_ = false;
  bool done_ = false;  // gRPC may have dropped context_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_WATCH_STREAM_H_
