// Names of resources, for both sides: `tenants/{tenant}` and `tenants/{tenant}/jobs/{job}`.
#ifndef QUANTD_PROTO_RESOURCE_NAME_H_
#define QUANTD_PROTO_RESOURCE_NAME_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// Whose jobs are meant where nobody is named.
inline constexpr char kDefaultTenant[] = "default";

// [a-z]([a-z0-9-]{0,61}[a-z0-9])?
bool IsResourceId(absl::string_view id);

// "tenants/search".
std::string TenantName(absl::string_view tenant);
// "tenants/search/jobs/job-1".
std::string JobName(absl::string_view tenant, absl::string_view job);

struct JobNameParts {
  std::string tenant;
  std::string job;
};

// Nothing when `name` is no such name.
std::optional<std::string> ParseTenantName(absl::string_view name);
std::optional<JobNameParts> SplitJobName(absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_PROTO_RESOURCE_NAME_H_
