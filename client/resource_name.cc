#include "client/resource_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kMaxIdBytes = 63;

bool IsIdCharacter(char c) {
  return absl::ascii_islower(static_cast<unsigned char>(c)) || absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
         c == '-';
}

// [a-z]([a-z0-9-]{0,61}[a-z0-9])?
bool IsId(absl::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes && absl::ascii_islower(static_cast<unsigned char>(id.front())) &&
         id.back() != '-' && std::all_of(id.begin(), id.end(), IsIdCharacter);
}

}  // namespace

absl::StatusOr<std::string> JobName(absl::string_view name_or_id) {
  if (IsId(name_or_id)) return absl::StrCat(kDefaultParent, "/jobs/", name_or_id);
  const std::vector<absl::string_view> parts = absl::StrSplit(name_or_id, '/');
  if (parts.size() == 4 && parts[0] == "tenants" && IsId(parts[1]) && parts[2] == "jobs" && IsId(parts[3])) {
    return std::string(name_or_id);
  }
  return InvalidInput("JOB_NAME_INVALID",
                      absl::StrCat("'", name_or_id, "' is not a job: give its id, as `quantctl list` shows it, or its ",
                                   "full name tenants/{tenant}/jobs/{job}"));
}

std::string JobId(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return std::string(slash == absl::string_view::npos ? name : name.substr(slash + 1));
}

}  // namespace quantd
