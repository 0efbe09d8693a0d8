// Names of resources: tenants/{tenant}/jobs/{job}. People type the id alone.
#ifndef QUANTD_CLIENT_RESOURCE_NAME_H_
#define QUANTD_CLIENT_RESOURCE_NAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

inline constexpr absl::string_view kDefaultParent = "tenants/default";

// "job-1" -> "tenants/default/jobs/job-1"; a full name is returned unchanged. INVALID_ARGUMENT, reason
// JOB_NAME_INVALID, for anything else.
absl::StatusOr<std::string> JobName(absl::string_view name_or_id);

// The last part of a full name: the shortest text that JobName() takes.
std::string JobId(absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_CLIENT_RESOURCE_NAME_H_
