#include "worker/agent/rpc_status.h"

#include <grpcpp/support/status.h>

#include <string>

#include "core/base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quantd {
namespace {

std::string ReasonIn(const std::string& details) {
  google::rpc::Status rich;
  if (details.empty() || !rich.ParseFromString(details)) return "";
  google::rpc::ErrorInfo info;
  for (const google::protobuf::Any& detail : rich.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

}  // namespace

absl::Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return ReasonError(static_cast<absl::StatusCode>(status.error_code()), ReasonIn(status.error_details()),
                     status.error_message());
}

bool IsStaleLease(const absl::Status& status) {
  return status.code() == absl::StatusCode::kAborted;
}

bool IsTransient(const absl::Status& status) {
  // A server of ours gives every error a reason. One without was made by gRPC: a connection that broke halfway, or a
  // server that had no thread free.
  const bool from_transport = ReasonOf(status).empty();
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return true;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnknown:
      return from_transport;
    default:
      return false;
  }
}

}  // namespace quantd
