// The one place where statuses cross the RPC edge.
//
// Inside the server an error is an absl::Status with a reason and perhaps a field (core/base/status.h). On the wire it
// is the canonical code plus google.rpc.ErrorInfo {reason, domain "quantd"}, google.rpc.BadRequest when the status
// names a field of the request, and google.rpc.QuotaFailure and RetryInfo when it says whose quota is used up and when
// to come back (quota_error.h). A status without a reason gets its code's name, so that ErrorInfo is always there.
#ifndef QUANTD_SERVER_ERRORS_RPC_STATUS_H_
#define QUANTD_SERVER_ERRORS_RPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace quantd {

inline constexpr char kErrorDomain[] = "quantd";

// Messages are cut at 2 KiB, or 1 KiB of other than ASCII: they travel in HTTP/2 headers, which peers limit to 8 KiB.
grpc::Status ToRpcStatus(const absl::Status& status);

// The inverse: code, message, reason, field, quota and delay. Details that do not parse are ignored.
absl::Status FromRpcStatus(const grpc::Status& status);

}  // namespace quantd

#endif  // QUANTD_SERVER_ERRORS_RPC_STATUS_H_
