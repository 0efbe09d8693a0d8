#include "client/resource_name.h"

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {

absl::StatusOr<std::string> ExpandJobName(absl::string_view name_or_id, absl::string_view tenant) {
  if (SplitJobName(name_or_id).has_value()) return std::string(name_or_id);
  if (IsResourceId(name_or_id)) {
    RETURN_IF_ERROR(ParentOf(tenant).status());
    return JobName(tenant, name_or_id);
  }
  return InvalidInput("JOB_NAME_INVALID",
                      absl::StrCat("'", name_or_id, "' is not a job: give its id, as `quantctl list` shows it, or its ",
                                   "full name tenants/{tenant}/jobs/{job}"));
}

absl::StatusOr<std::string> ParentOf(absl::string_view tenant) {
  if (IsResourceId(tenant)) return TenantName(tenant);
  return InvalidInput(
      "TENANT_INVALID",
      absl::StrCat("'", tenant, "' cannot be a tenant: it has 1 to 63 of a-z, 0-9 and -, begins with a ",
                   "letter and does not end with -"));
}

std::string JobId(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return std::string(slash == absl::string_view::npos ? name : name.substr(slash + 1));
}

}  // namespace quantd
