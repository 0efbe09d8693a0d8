#include "server/errors/rpc_status.h"

#include <string>

#include "core/base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

// A status travels in HTTP/2 headers, which peers limit to 8 KiB together. The message is in there percent-encoded, and
// twice in the details, whose bytes become base64: at worst 3 KiB + 4/3 (2 KiB + 256 + 256 + 64 + names) < 7 KiB.
constexpr size_t kMaxEncodedMessageBytes = 3072;
constexpr size_t kMaxMessageBytes = 2048;
constexpr size_t kMaxDescriptionBytes = 256;
constexpr size_t kMaxFieldBytes = 256;
constexpr size_t kMaxReasonBytes = 63;

// The beginning that fits both limits, not cut inside a character.
std::string Fitting(absl::string_view message) {
  size_t encoded = 0;
  size_t end = 0;
  while (end < message.size() && end < kMaxMessageBytes) {
    const char c = message[end];
    encoded += c >= 0x20 && c <= 0x7E && c != '%' ? 1 : 3;
    if (encoded > kMaxEncodedMessageBytes) break;
    ++end;
  }
  return KeepBeginning(message, end);
}

google::rpc::ErrorInfo InfoOf(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  const std::string reason = ReasonOf(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : KeepBeginning(reason, kMaxReasonBytes));
  info.set_domain(kErrorDomain);
  return info;
}

}  // namespace

grpc::Status ToRpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Fitting(status.message()));
  details.add_details()->PackFrom(InfoOf(status));
  if (const std::string field = FieldOf(status); !field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(KeepBeginning(field, kMaxFieldBytes));
    violation->set_description(KeepBeginning(details.message(), kMaxDescriptionBytes));
    details.add_details()->PackFrom(bad_request);
  }
  // The canonical codes of gRPC and Abseil are the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(), details.SerializeAsString());
}

absl::Status FromRpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string reason;
  std::string field;
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad_request;
      if (detail.UnpackTo(&info) && info.domain() == kErrorDomain) reason = info.reason();
      if (detail.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
        field = bad_request.field_violations(0).field();
      }
    }
  }
  const absl::Status result =
      ReasonError(static_cast<absl::StatusCode>(status.error_code()), reason, status.error_message());
  return field.empty() ? result : WithField(result, field);
}

}  // namespace quantd
