#include "proto/resource_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quantd {
namespace {

constexpr size_t kMaxIdBytes = 63;

// Not by locale.
bool IsIdCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

}  // namespace

bool IsResourceId(absl::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes && id.front() >= 'a' && id.front() <= 'z' && id.back() != '-' &&
         std::all_of(id.begin(), id.end(), &IsIdCharacter);
}

std::string TenantName(absl::string_view tenant) {
  return absl::StrCat("tenants/", tenant);
}

std::string JobName(absl::string_view tenant, absl::string_view job) {
  return absl::StrCat("tenants/", tenant, "/jobs/", job);
}

std::optional<std::string> ParseTenantName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 2));
  if (parts.size() != 2 || parts[0] != "tenants" || !IsResourceId(parts[1])) return std::nullopt;
  return std::string(parts[1]);
}

std::optional<JobNameParts> SplitJobName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 4));
  if (parts.size() != 4 || parts[0] != "tenants" || parts[2] != "jobs") return std::nullopt;
  if (!IsResourceId(parts[1]) || !IsResourceId(parts[3])) return std::nullopt;
  return JobNameParts{std::string(parts[1]), std::string(parts[3])};
}

}  // namespace quantd
