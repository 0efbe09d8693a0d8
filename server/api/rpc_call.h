// What every handler needs around it: the translation of its status, its count and its time.
#ifndef QUANTD_SERVER_API_RPC_CALL_H_
#define QUANTD_SERVER_API_RPC_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <new>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "server/errors/rpc_status.h"
#include "server/metrics/service_metrics.h"

namespace quantd {

// Counts and translates one answered call.
grpc::Status FinishRpc(ServiceMetrics& metrics, absl::string_view method, absl::Time begin, const absl::Status& status);

// Runs `body` (a callable that gives absl::Status) as the handler of `method`. Nothing is thrown out of it.
template <typename Body>
grpc::Status AnswerRpc(ServiceMetrics& metrics, absl::string_view method, const Body& body) {
  const absl::Time begin = RealClock().Now();
  absl::Status status;
  try {
    status = body();
  } catch (const std::bad_alloc&) {
    status = ReasonError(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY", "the server is out of memory; retry");
  } catch (const std::exception& error) {
    status = absl::InternalError(error.what());
  }
  return FinishRpc(metrics, method, begin, status);
}

// When the caller stops waiting; infinite future without a deadline.
absl::Time DeadlineOf(const grpc::ServerContext& context);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_RPC_CALL_H_
