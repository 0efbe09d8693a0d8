#include "core/model/config_reader.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// A config error, whatever the lower layer called it.
absl::Status AsConfigError(const absl::Status& status) {
  return InvalidInput("CONFIG_INVALID", status.message());
}

}  // namespace

absl::Status ConfigReader::Invalid(absl::string_view why) const {
  return InvalidInput("CONFIG_INVALID", absl::StrCat(source_, ": ", why));
}

bool ConfigReader::Mentions(absl::string_view key) const {
  return json_.find(std::string(key)) != json_.end();
}

const Json* ConfigReader::Find(absl::string_view key) const {
  const auto it = json_.find(std::string(key));
  return it == json_.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<std::string> ConfigReader::SpellingOf(absl::string_view key) const {
  std::string spelling(key);
  for (const KeyAlias& alias : aliases_) {
    if (key != alias.key || !Has(alias.other)) continue;
    if (Has(spelling) && *Find(spelling) != *Find(alias.other)) {
      return Invalid(absl::StrFormat("fields '%s' and '%s' mean the same and differ", spelling, alias.other));
    }
    spelling = alias.other;
  }
  return spelling;
}

absl::StatusOr<int64_t> ConfigReader::Size(absl::string_view key, std::optional<int64_t> fallback,
                                           int64_t limit) const {
  if (key.empty()) return *fallback;
  ASSIGN_OR_RETURN(const std::string name, SpellingOf(key));
  const auto value = fallback.has_value() ? JsonIntOr(json_, name, *fallback, source_) : JsonInt(json_, name, source_);
  if (!value.ok()) return AsConfigError(value.status());
  if (*value >= 1 && *value <= limit) return *value;
  return Invalid(absl::StrFormat("field '%s' is %d; it must be 1 to %d", name, *value, limit));
}

absl::StatusOr<bool> ConfigReader::Bool(absl::string_view key, bool fallback) const {
  const auto value = JsonBoolOr(json_, key, fallback, source_);
  if (!value.ok()) return AsConfigError(value.status());
  return *value;
}

absl::StatusOr<std::string> ConfigReader::Text(absl::string_view key, absl::string_view fallback) const {
  if (key.empty()) return std::string(fallback);
  const auto value = JsonStringOr(json_, key, fallback, source_);
  if (!value.ok()) return AsConfigError(value.status());
  return *value;
}

absl::StatusOr<double> ConfigReader::Number(absl::string_view key, std::optional<double> fallback,
                                            NumberRange range) const {
  if (key.empty()) return *fallback;
  if (!fallback.has_value() && !Has(key)) return Invalid(absl::StrFormat("field '%s' is missing", key));
  const auto value = JsonDoubleOr(json_, key, fallback.value_or(0), source_);
  if (!value.ok()) return AsConfigError(value.status());
  if (*value >= range.low && *value <= range.high) return *value;
  return Invalid(absl::StrFormat("field '%s' is %g; it must be %g to %g", key, *value, range.low, range.high));
}

}  // namespace quantd
