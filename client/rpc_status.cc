#include "client/rpc_status.h"

#include <grpcpp/support/status.h>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quantd {
namespace {

constexpr absl::string_view kOriginUrl = "quantd/origin";

struct Details {
  std::string reason;
  std::string field;
  std::string more;  // to be appended to the message
};

void AddField(const google::rpc::BadRequest::FieldViolation& violation, absl::string_view message, Details& details) {
  if (details.field.empty()) details.field = violation.field();
  if (violation.description().empty() || absl::StrContains(message, violation.description())) return;
  absl::StrAppend(&details.more, "; ", violation.field(), ": ", violation.description());
}

Details DetailsOf(const grpc::Status& status) {
  Details details;
  google::rpc::Status rich;
  if (status.error_details().empty() || !rich.ParseFromString(status.error_details())) return details;
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
  for (const google::protobuf::Any& any : rich.details()) {
    if (any.UnpackTo(&info)) details.reason = info.reason();
    if (any.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) AddField(violation, status.error_message(), details);
    }
    if (any.UnpackTo(&retry)) {
      const double seconds =
          static_cast<double>(retry.retry_delay().seconds()) + 1e-9 * static_cast<double>(retry.retry_delay().nanos());
      absl::StrAppendFormat(&details.more, "; try again in %.3g s", seconds);
    }
  }
  return details;
}

// quantd gives each of its errors a reason. A cancellation that this side did not ask for, or a removed stream, is how
// gRPC reports a server that stopped in the middle of a call.
bool IsCutOff(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::CANCELLED ||
         (status.error_code() == grpc::StatusCode::UNKNOWN && status.error_message() == "Stream removed");
}

absl::Status TransportError(const grpc::Status& status, const std::string& server) {
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (IsCutOff(status)) {
    return ReasonError(absl::StatusCode::kUnavailable, "CALL_CUT_OFF",
                       absl::StrCat("quantd at ", server, " ended the call before it was answered: it is stopping"));
  }
  switch (code) {
    case absl::StatusCode::kUnavailable:
      return ReasonError(code, "SERVER_UNREACHABLE",
                         absl::StrCat("cannot reach quantd at ", server, " (", status.error_message(), ")"));
    case absl::StatusCode::kDeadlineExceeded:
      return ReasonError(code, "DEADLINE_EXCEEDED", absl::StrCat("quantd at ", server, " did not answer in time"));
    case absl::StatusCode::kUnimplemented:
      return ReasonError(code, "METHOD_UNKNOWN",
                         absl::StrCat("the server at ", server, " does not know this call (", status.error_message(),
                                      "): it is older than this client, or it is not quantd"));
    default:
      return absl::Status(code, status.error_message());
  }
}

}  // namespace

absl::Status FromRpcStatus(const grpc::Status& status, const std::string& server) {
  if (status.ok()) return absl::OkStatus();
  const Details details = DetailsOf(status);
  if (details.reason.empty() && details.field.empty()) return TransportError(status, server);
  absl::Status result = ReasonError(static_cast<absl::StatusCode>(status.error_code()), details.reason,
                                    absl::StrCat(status.error_message(), details.more));
  result.SetPayload(kOriginUrl, absl::Cord("server"));
  return details.field.empty() ? result : WithField(result, details.field);
}

bool IsFromServer(const absl::Status& status) {
  return status.GetPayload(kOriginUrl).has_value();
}

}  // namespace quantd
