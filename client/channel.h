// The connection to quantd: one server, or several that share a queue.
//
// Unary calls are retried by gRPC itself: on UNAVAILABLE only, at most five attempts, exponential back-off with a
// jitter of 20 %, throttled when most calls fail. That is safe because every call of the API is either a read, or
// idempotent (Cancel, Delete), or carries a request id (Submit). The two streams, WatchQuantJob and DownloadArtifact,
// are not in that table: they resume where they stopped (QuantdClient), and two layers of retries would multiply.
//
// Of several servers those are used, in turn, that are reachable and whose health service says SERVING: one that drains
// gets no new calls. A connection that is silent during a call is probed, so that a host that vanished is noticed.
#ifndef QUANTD_CLIENT_CHANNEL_H_
#define QUANTD_CLIENT_CHANNEL_H_

#include <memory>
#include <string>

namespace grpc {
class Channel;
}

namespace quantd {

inline constexpr int kMaxCallAttempts = 5;  // gRPC's own cap

enum class Servers { kOne, kSeveral };

// The service config, in gRPC's JSON form.
std::string RetryServiceConfig(Servers servers = Servers::kOne);

// `server` is host:port, several of them separated by commas, or any gRPC target ("unix:/run/quantd.sock"). Connects at
// the first call, without TLS. Messages of up to 16 MiB are accepted: a list page of 1000 jobs with their log tails.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server);

}  // namespace quantd

#endif  // QUANTD_CLIENT_CHANNEL_H_
