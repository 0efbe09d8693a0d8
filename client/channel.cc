#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace quantd {
namespace {

constexpr absl::string_view kRetriedMethods[] = {
    "SubmitQuantJob", "GetQuantJob", "ListQuantJobs", "CancelQuantJob", "GetQuantReport", "ListRecipes",
};
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kFirstReconnectMs = 100;
constexpr int kLongestReconnectMs = 2000;
constexpr int kLongestConnectMs = 10'000;

}  // namespace

std::string RetryServiceConfig() {
  std::vector<std::string> names;
  for (absl::string_view method : kRetriedMethods) {
    names.push_back(absl::StrFormat(R"({"service": "quantd.v1.QuantService", "method": "%s"})", method));
  }
  // gRPC adds a jitter of 20 % to each back-off.
  return absl::StrFormat(
      R"({"methodConfig": [{"name": [%s], "retryPolicy": {"maxAttempts": %d, "initialBackoff": "0.2s",)"
      R"( "maxBackoff": "3s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}],)"
      R"( "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5}})",
      absl::StrJoin(names, ", "), kMaxAttempts);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(RetryServiceConfig());
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  // In spite of its name also the time that one attempt to connect may take: far hosts and busy ones need some.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kLongestConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestReconnectMs);
  // A daemon on the local network is never reached through a web proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace quantd
