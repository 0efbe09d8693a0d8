#include "server/api/rpc_call.h"

#include <chrono>
#include <string>

#include "core/base/logging.h"

namespace quantd {

grpc::Status FinishRpc(ServiceMetrics& metrics, absl::string_view method, absl::Time begin,
                       const absl::Status& status) {
  const std::string name(method);
  metrics.Increment(Metric::kRpcHandled, {name, absl::StatusCodeToString(status.code())});
  metrics.Observe(Metric::kRpcSeconds, absl::ToDoubleSeconds(RealClock().Now() - begin), {name});
  if (status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kDataLoss) {
    Log(Severity::kError, "rpc_failed", {{"method", name}, {"reason", ReasonOf(status)}}, status.message());
  }
  return ToRpcStatus(status);
}

absl::Time DeadlineOf(const grpc::ServerContext& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture() : absl::FromChrono(deadline);
}

}  // namespace quantd
