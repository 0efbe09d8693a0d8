// Names of resources: `tenants/{tenant}/jobs/{job}`. The one tenant is "default" until there is authentication.
#ifndef QUANTD_SERVER_API_RESOURCE_NAMES_H_
#define QUANTD_SERVER_API_RESOURCE_NAMES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/resource_name.h"

namespace quantd {

// "" and "tenants/default". INVALID_ARGUMENT PARENT_INVALID; NOT_FOUND TENANT_NOT_FOUND for another tenant.
absl::Status CheckParent(absl::string_view parent);

// The job's id. INVALID_ARGUMENT NAME_INVALID; NOT_FOUND JOB_NOT_FOUND for a job of another tenant.
absl::StatusOr<std::string> ParseJobName(absl::string_view name);

// "job-" and 12 random characters.
std::string RandomJobId();

// A UUID in its usual 36 characters, any version.
bool IsUuid(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_RESOURCE_NAMES_H_
