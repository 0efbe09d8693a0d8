#include "server/errors/rpc_status.h"

#include <string>
#include <utility>

#include "core/base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/quota_error.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

// A status travels in HTTP/2 headers, which peers limit to 8 KiB together. The message is in there percent-encoded, and
// twice in the details, whose bytes become base64: at worst 3 KiB + 4/3 (2 KiB + 256 + 256 + 64 + names) < 7 KiB. A
// status has either a field or a quota's subject.
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

// A disk that failed once may work at the next try: the caller may say it again.
absl::StatusCode CodeOf(const absl::Status& status) {
  return ReasonOf(status) == "IO_ERROR" ? absl::StatusCode::kUnavailable : status.code();
}

google::rpc::ErrorInfo InfoOf(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  const std::string reason = ReasonOf(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : KeepBeginning(reason, kMaxReasonBytes));
  info.set_domain(kErrorDomain);
  return info;
}

void AddField(absl::string_view field, google::rpc::Status& details) {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field(KeepBeginning(field, kMaxFieldBytes));
  violation->set_description(KeepBeginning(details.message(), kMaxDescriptionBytes));
  details.add_details()->PackFrom(bad_request);
}

void AddQuota(absl::string_view subject, google::rpc::Status& details) {
  google::rpc::QuotaFailure failure;
  auto* violation = failure.add_violations();
  violation->set_subject(KeepBeginning(subject, kMaxFieldBytes));
  violation->set_description(KeepBeginning(details.message(), kMaxDescriptionBytes));
  details.add_details()->PackFrom(failure);
}

void AddRetry(absl::Duration delay, google::rpc::Status& details) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(delay % absl::Seconds(1))));
  details.add_details()->PackFrom(info);
}

// What a rich error says beyond code and message.
struct Details {
  std::string reason;
  std::string field;
  std::string quota_subject;
  absl::Duration retry_after;
};

void Read(const google::protobuf::Any& detail, Details& details) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::QuotaFailure quota;
  google::rpc::RetryInfo retry;
  if (detail.UnpackTo(&info) && info.domain() == kErrorDomain) details.reason = info.reason();
  if (detail.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
    details.field = bad_request.field_violations(0).field();
  }
  if (detail.UnpackTo(&quota) && quota.violations_size() > 0) details.quota_subject = quota.violations(0).subject();
  if (detail.UnpackTo(&retry)) {
    details.retry_after = absl::Seconds(retry.retry_delay().seconds()) + absl::Nanoseconds(retry.retry_delay().nanos());
  }
}

}  // namespace

grpc::Status ToRpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  const absl::StatusCode code = CodeOf(status);
  details.set_code(static_cast<int>(code));
  details.set_message(Fitting(status.message()));
  details.add_details()->PackFrom(InfoOf(status));
  const std::string field = FieldOf(status);
  const std::string subject = QuotaSubjectOf(status);
  if (!field.empty()) {
    AddField(field, details);
  } else if (!subject.empty()) {
    AddQuota(subject, details);
  }
  if (const absl::Duration delay = RetryAfterOf(status); delay > absl::ZeroDuration()) AddRetry(delay, details);
  // The canonical codes of gRPC and Abseil are the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(code), details.message(), details.SerializeAsString());
}

absl::Status FromRpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  Details details;
  google::rpc::Status rich;
  if (rich.ParseFromString(status.error_details())) {
    for (const auto& detail : rich.details()) Read(detail, details);
  }
  absl::Status result =
      ReasonError(static_cast<absl::StatusCode>(status.error_code()), details.reason, status.error_message());
  if (!details.field.empty()) result = WithField(std::move(result), details.field);
  if (!details.quota_subject.empty()) result = WithQuotaSubject(std::move(result), details.quota_subject);
  if (details.retry_after > absl::ZeroDuration()) result = WithRetryAfter(std::move(result), details.retry_after);
  return result;
}

}  // namespace quantd
