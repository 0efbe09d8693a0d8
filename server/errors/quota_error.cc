#include "server/errors/quota_error.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

constexpr absl::string_view kRetryUrl = "quantd/retry_after_ms";
constexpr absl::string_view kSubjectUrl = "quantd/quota_subject";

std::string Payload(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  if (status.ok()) return status;
  const absl::Duration rounded = absl::Ceil(std::max(delay, absl::Milliseconds(1)), absl::Milliseconds(1));
  status.SetPayload(kRetryUrl, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(rounded))));
  return status;
}

absl::Duration RetryAfterOf(const absl::Status& status) {
  int64_t milliseconds = 0;
  return absl::SimpleAtoi(Payload(status, kRetryUrl), &milliseconds) ? absl::Milliseconds(milliseconds)
                                                                     : absl::ZeroDuration();
}

absl::Status WithQuotaSubject(absl::Status status, absl::string_view subject) {
  if (!status.ok()) status.SetPayload(kSubjectUrl, absl::Cord(subject));
  return status;
}

std::string QuotaSubjectOf(const absl::Status& status) {
  return Payload(status, kSubjectUrl);
}

}  // namespace quantd
