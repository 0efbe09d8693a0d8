// Names of jobs as people type them: the id alone, or the full name.
#ifndef QUANTD_CLIENT_RESOURCE_NAME_H_
#define QUANTD_CLIENT_RESOURCE_NAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/resource_name.h"

namespace quantd {

// ("job-1", "search") -> "tenants/search/jobs/job-1"; a full name, of whatever tenant, is returned unchanged.
// INVALID_ARGUMENT, reason JOB_NAME_INVALID, for anything else.
absl::StatusOr<std::string> ExpandJobName(absl::string_view name_or_id, absl::string_view tenant);

// "tenants/search". INVALID_ARGUMENT, reason TENANT_INVALID, when it cannot be a tenant.
absl::StatusOr<std::string> ParentOf(absl::string_view tenant);

// The last part of a full name: the shortest text that ExpandJobName() takes.
std::string JobId(absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_CLIENT_RESOURCE_NAME_H_
