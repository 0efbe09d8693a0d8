#include "server/config/tenants.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

using L = TenantLimits;
constexpr double kMost = 9'007'199'254'740'992;  // 2^53
constexpr size_t kMaxTenants = 1000;
constexpr size_t kMaxNameBytes = 63;
constexpr char kOthers[] = "*";

constexpr TenantKey kKeys[] = {
    {"weight", &L::weight, 0.001, 1000, false},
    {"max_running", &L::max_running, 0, 1e9, true},
    {"max_queued", &L::max_queued, 0, 1e9, true},
    {"max_stored_bytes", &L::max_stored_bytes, 0, kMost, true},
    {"submits_per_second", &L::submits_per_second, 0, 1e6, false},
    {"burst", &L::burst, 0, 1e6, true},
};

absl::Status Invalid(absl::string_view what, absl::string_view tenant, absl::string_view problem) {
  return InvalidInput("TENANTS_INVALID",
                      absl::StrFormat("%s: tenant '%s': %s", what, KeepBeginning(tenant, kMaxNameBytes), problem));
}

const TenantKey* FindKey(absl::string_view name) {
  for (const TenantKey& key : kKeys) {
    if (name == key.name) return &key;
  }
  return nullptr;
}

// "" when the value fits, else what it must be.
std::string Complaint(const TenantKey& key, const Json& value) {
  const bool fits = value.is_number() && value.get<double>() >= key.minimum && value.get<double>() <= key.maximum &&
                    (!key.integer || std::floor(value.get<double>()) == value.get<double>());
  return fits ? ""
              : absl::StrFormat("%s must be %s, %.16g to %.16g", key.name, key.integer ? "an integer" : "a number",
                                key.minimum, key.maximum);
}

absl::StatusOr<TenantLimits> ParseLimits(const Json& json, TenantLimits limits, absl::string_view what,
                                         absl::string_view tenant) {
  if (!json.is_object()) return Invalid(what, tenant, "must be a JSON object");
  for (const auto& [name, value] : json.items()) {
    const TenantKey* key = FindKey(name);
    if (key == nullptr) {
      const auto name_of = [](std::string* out, const TenantKey& row) { absl::StrAppend(out, row.name); };
      return Invalid(what, tenant,
                     absl::StrFormat("'%s' is no key; known are %s", KeepBeginning(name, kMaxNameBytes),
                                     absl::StrJoin(kKeys, ", ", name_of)));
    }
    if (const std::string complaint = Complaint(*key, value); !complaint.empty()) {
      return Invalid(what, tenant, complaint);
    }
    limits.*key->member = value.get<double>();
  }
  return limits;
}

}  // namespace

absl::Span<const TenantKey> TenantKeys() {
  return kKeys;
}

absl::StatusOr<TenantTable> TenantTable::Parse(absl::string_view text, absl::string_view what) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, what));
  if (!json.is_object() || json.size() > kMaxTenants) {
    return InvalidInput("TENANTS_INVALID",
                        absl::StrFormat("%s: must be one JSON object of at most %d tenants", what, kMaxTenants));
  }
  TenantTable table;
  if (json.contains(kOthers)) {
    ASSIGN_OR_RETURN(table.others_, ParseLimits(json.at(kOthers), TenantLimits(), what, kOthers));
  }
  for (const auto& [tenant, limits] : json.items()) {
    if (tenant == kOthers) continue;
    if (tenant.empty() || tenant.size() > kMaxNameBytes) return Invalid(what, tenant, "names have 1 to 63 bytes");
    ASSIGN_OR_RETURN(table.named_[tenant], ParseLimits(limits, table.others_, what, tenant));
  }
  return table;
}

absl::StatusOr<TenantTable> TenantTable::ReadFile(const std::string& path) {
  if (path.empty()) return TenantTable();
  ASSIGN_OR_RETURN(const std::string text, RealFileSystem().ReadFile(path, kMaxJsonBytes));
  return Parse(text, path);
}

const TenantLimits& TenantTable::Of(absl::string_view tenant) const {
  const auto found = named_.find(tenant);
  return found == named_.end() ? others_ : found->second;
}

std::vector<std::string> TenantTable::names() const {
  std::vector<std::string> names;
  for (const auto& [name, limits] : named_) names.push_back(name);
  return names;
}

}  // namespace quantd
