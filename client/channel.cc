#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/server_list.h"

namespace quantd {
namespace {

constexpr absl::string_view kRetriedMethods[] = {
    "SubmitQuantJob",   "GetQuantJob",    "ListQuantJobs",    "CancelQuantJob", "DeleteQuantJob",
    "UndeleteQuantJob", "GetQuantReport", "ListAuditRecords", "ListRecipes",
};
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kFirstReconnectMs = 100;
constexpr int kLongestReconnectMs = 2000;
constexpr int kLongestConnectMs = 10'000;
constexpr int kProbeAfterMs = 20'000;  // the server allows one ping in 5 s
constexpr int kProbeAnswerMs = 10'000;

}  // namespace

std::string RetryServiceConfig(Servers servers) {
  std::vector<std::string> names;
  for (absl::string_view method : kRetriedMethods) {
    names.push_back(absl::StrFormat(R"({"service": "quantd.v1.QuantService", "method": "%s"})", method));
  }
  const char* const balancing =
      R"("loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "quantd.v1.QuantService"}, )";
  // gRPC adds a jitter of 20 % to each back-off.
  return absl::StrFormat(
      R"({%s"methodConfig": [{"name": [%s], "retryPolicy": {"maxAttempts": %d, "initialBackoff": "0.2s",)"
      R"( "maxBackoff": "3s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}],)"
      R"( "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5}})",
      servers == Servers::kSeveral ? balancing : "", absl::StrJoin(names, ", "), kMaxCallAttempts);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server) {
  grpc::ChannelArguments arguments;
  const bool several = IsServerList(server);
  arguments.SetServiceConfigJSON(RetryServiceConfig(several ? Servers::kSeveral : Servers::kOne));
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  // In spite of its name also the time that one attempt to connect may take: far hosts and busy ones need some.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kLongestConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestReconnectMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kProbeAfterMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kProbeAnswerMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // 0: a quiet watch may last for days
  // A daemon on the local network is never reached through a web proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(several ? TargetOfServerList(server) : server, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace quantd
