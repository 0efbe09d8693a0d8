#include "server/daemon/grpc_listener.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/config/listen_address.h"

namespace quantd {
namespace {

constexpr int kMaxMessageBytes = 16 << 20;  // a report of some 10^4 layers
constexpr int kShortestPingIntervalMs = 5'000;
// Threads that stay when they have nothing to do. With gRPC's default of 2 nearly every call starts a thread and ends
// it.
constexpr int kMostIdleThreads = 64;

// The reflection library adds itself to every server of a program that links it: this takes it out again.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    const auto is_reflection = [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return plugin->name() == "proto_server_reflection";
    };
    plugins->erase(std::remove_if(plugins->begin(), plugins->end(), is_reflection), plugins->end());
  }
};

void SetReflection(grpc::ServerBuilder& builder, bool wanted) {
  if (wanted) {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  } else {
    builder.SetOption(std::make_unique<WithoutReflection>());
  }
}

void PollUntilShutdown(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
  }
}

void SetLimits(grpc::ServerBuilder& builder, int max_threads) {
  grpc::ResourceQuota quota("quantd");
  quota.SetMaxThreads(max_threads);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, std::min(kMostIdleThreads, max_threads));
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // Two daemons on one port would each get some of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kShortestPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcListener>> GrpcListener::Start(const GrpcOptions& options,
                                                                  const std::vector<grpc::Service*>& services) {
  ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress(options.address));
  RETURN_IF_ERROR(CheckFree(address, "--listen"));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  SetReflection(builder, options.reflection);
  SetLimits(builder, options.max_threads);
  builder.AddListeningPort(address.Text(), grpc::InsecureServerCredentials(), &address.port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<GrpcListener> listener(new GrpcListener());
  listener->queue_ = builder.AddCompletionQueue();
  listener->server_ = builder.BuildAndStart();
  listener->poller_ = std::thread([queue = listener->queue_.get()] { PollUntilShutdown(*queue); });
  if (listener->server_ == nullptr || address.port == 0) {
    return ReasonError(
        absl::StatusCode::kFailedPrecondition, "ADDRESS_IN_USE",
        absl::StrFormat("the gRPC server could not listen on %s; choose another --listen", options.address));
  }
  listener->address_ = address.Text();
  listener->SetServing(false);
  return listener;
}

GrpcListener::~GrpcListener() {
  if (server_ != nullptr) Shutdown(absl::ZeroDuration());
  queue_->Shutdown();
  poller_.join();
}

void GrpcListener::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  health->SetServingStatus(serving);
  for (const char* service : {"quantd.v1.QuantService", "quantd.v1.WorkerService"}) {
    health->SetServingStatus(service, serving);
  }
}

void GrpcListener::Shutdown(absl::Duration patience) {
  server_->Shutdown(absl::ToChronoTime(absl::Now() + patience));
  server_->Wait();
}

}  // namespace quantd
