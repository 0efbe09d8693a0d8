#include "server/api/resource_names.h"

#include <algorithm>
#include <random>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

constexpr size_t kQuotedBytes = 200;
constexpr size_t kRandomCharacters = 12;  // 60 bits
constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

}  // namespace

absl::Status CheckParent(absl::string_view parent) {
  if (parent.empty() || parent == "tenants/default") return absl::OkStatus();
  const std::vector<absl::string_view> parts = absl::StrSplit(parent, '/');
  const std::string quoted = KeepBeginning(parent, kQuotedBytes);
  if (parts.size() == 2 && parts[0] == "tenants" && IsResourceId(parts[1])) {
    return WithField(ReasonError(absl::StatusCode::kNotFound, "TENANT_NOT_FOUND",
                                 absl::StrFormat("there is no '%s'; the only parent is 'tenants/default'", quoted)),
                     "parent");
  }
  return WithField(
      InvalidInput("PARENT_INVALID", absl::StrFormat("parent is '%s'; it must be 'tenants/default' or empty", quoted)),
      "parent");
}

absl::StatusOr<std::string> ParseJobName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  const std::string quoted = KeepBeginning(name, kQuotedBytes);
  if (parts.size() != 4 || parts[0] != "tenants" || parts[2] != "jobs" || !IsResourceId(parts[1]) ||
      !IsResourceId(parts[3])) {
    return WithField(InvalidInput("NAME_INVALID", absl::StrFormat("'%s' is no job name; job names look like "
                                                                  "'tenants/default/jobs/job-abc'",
                                                                  quoted)),
                     "name");
  }
  // What another tenant has looks like what nobody has.
  if (parts[1] != "default") {
    return ReasonError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", absl::StrFormat("there is no job '%s'", quoted));
  }
  return std::string(parts[3]);
}

std::string RandomJobId() {
  std::random_device random;
  std::string id = "job-";
  for (size_t i = 0; i < kRandomCharacters; ++i) id += kAlphabet[random() % 32];
  return id;
}

bool IsUuid(absl::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

}  // namespace quantd
