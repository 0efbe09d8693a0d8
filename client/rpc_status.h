// From gRPC's rich error model to absl::Status, the inverse of what the server does at its edge.
//
//   code, message              kept
//   google.rpc.ErrorInfo       ReasonOf(status), e.g. "RECIPE_UNKNOWN_PARAMETER"
//   google.rpc.BadRequest      FieldOf(status), the first field; descriptions that the message lacks are appended
//   google.rpc.RetryInfo       appended to the message: "try again in 5 s"
//
// An error that gRPC itself made has no details; it gets the reason SERVER_UNREACHABLE (UNAVAILABLE), CALL_CUT_OFF (the
// server stopped in the middle of a call: UNAVAILABLE, whatever gRPC called it), DEADLINE_EXCEEDED, or METHOD_UNKNOWN
// (UNIMPLEMENTED: an older server, or something else listens there).
#ifndef QUANTD_CLIENT_RPC_STATUS_H_
#define QUANTD_CLIENT_RPC_STATUS_H_

#include <string>

#include "absl/status/status.h"

namespace grpc {
class Status;
}

namespace quantd {

// `server` is named in errors that gRPC itself made.
absl::Status FromRpcStatus(const grpc::Status& status, const std::string& server);

// True for what FromRpcStatus() made of an answer; false for errors of this side, such as its disk.
bool IsFromServer(const absl::Status& status);

}  // namespace quantd

#endif  // QUANTD_CLIENT_RPC_STATUS_H_
