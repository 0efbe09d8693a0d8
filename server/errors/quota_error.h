// Refusals that a later repetition of the same call may not meet: what is used up and when to come back travel with the
// status, and ToRpcStatus writes them as google.rpc.QuotaFailure and google.rpc.RetryInfo.
#ifndef QUANTD_SERVER_ERRORS_QUOTA_ERROR_H_
#define QUANTD_SERVER_ERRORS_QUOTA_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantd {

// The same status with the time after which the call is worth repeating, at least 1 ms.
absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);
// Zero where none was attached.
absl::Duration RetryAfterOf(const absl::Status& status);

// The same status with whose quota it is: "tenants/team-a", or "server" for all of them together.
absl::Status WithQuotaSubject(absl::Status status, absl::string_view subject);
// "" where none was attached.
std::string QuotaSubjectOf(const absl::Status& status);

}  // namespace quantd

#endif  // QUANTD_SERVER_ERRORS_QUOTA_ERROR_H_
