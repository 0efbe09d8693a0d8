// The connection to a quantd server.
//
// Unary calls are retried by gRPC itself: on UNAVAILABLE only, at most five attempts, exponential back-off with jitter.
// That is safe because every call of the API is either a read, or idempotent (Cancel), or carries a request id
// (Submit). The two streams, WatchQuantJob and DownloadArtifact, are not in that table: they resume where they stopped
// (QuantdClient), and two layers of retries would multiply.
#ifndef QUANTD_CLIENT_CHANNEL_H_
#define QUANTD_CLIENT_CHANNEL_H_

#include <memory>
#include <string>

namespace grpc {
class Channel;
}

namespace quantd {

inline constexpr int kMaxAttempts = 5;  // gRPC's own cap

// The service config, in gRPC's JSON form.
std::string RetryServiceConfig();

// `server` is host:port or any gRPC target ("unix:/run/quantd.sock"). Connects at the first call, without TLS. Messages
// of up to 16 MiB are accepted: a list page of 1000 jobs with their log tails.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server);

}  // namespace quantd

#endif  // QUANTD_CLIENT_CHANNEL_H_
