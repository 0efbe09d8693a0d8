#include "server/api/resource_names.h"

#include <optional>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

constexpr size_t kQuotedBytes = 200;
constexpr size_t kRandomCharacters = 12;  // 60 bits
constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

}  // namespace

absl::StatusOr<std::string> ParseParent(absl::string_view parent) {
  if (parent.empty()) return std::string(kDefaultTenant);
  std::optional<std::string> tenant = ParseTenantName(parent);
  if (tenant.has_value()) return *std::move(tenant);
  return WithField(
      InvalidInput("PARENT_INVALID", absl::StrFormat("parent is '%s'; it must look like 'tenants/default', "
                                                     "or be empty",
                                                     KeepBeginning(parent, kQuotedBytes))),
      "parent");
}

absl::StatusOr<JobNameParts> ParseJobName(absl::string_view name) {
  std::optional<JobNameParts> parts = SplitJobName(name);
  if (parts.has_value()) return *std::move(parts);
  return WithField(InvalidInput("NAME_INVALID", absl::StrFormat("'%s' is no job name; job names look like "
                                                                "'tenants/default/jobs/job-abc'",
                                                                KeepBeginning(name, kQuotedBytes))),
                   "name");
}

std::string RandomJobId() {
  static thread_local std::random_device random;  // looks for its source of randomness when it is made
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
