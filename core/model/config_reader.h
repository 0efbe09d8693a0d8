// Typed, bounded members of config.json. Every failure is CONFIG_INVALID and names file, field, value and limit.
#ifndef QUANTD_CORE_MODEL_CONFIG_READER_H_
#define QUANTD_CORE_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/json.h"
#include "core/model/architecture.h"

namespace quantd {

struct NumberRange {
  double low;
  double high;
};

// The arguments must outlive the reader. A key "" stands for a field that the family does not have: its fallback.
class ConfigReader {
 public:
  static constexpr int64_t kMaxSize = 1 << 24;

  // `aliases`: other spellings of the keys that Size reads.
  ConfigReader(const Json& json, const std::string& source, absl::Span<const KeyAlias> aliases = {})
      : json_(json), source_(source), aliases_(aliases) {}

  // There and not null.
  bool Has(absl::string_view key) const { return Find(key) != nullptr; }
  // There, possibly null.
  bool Mentions(absl::string_view key) const;
  // nullptr when absent or null.
  const Json* Find(absl::string_view key) const;

  // 1..limit. Without a fallback the field must be there, so below. Two spellings must not differ.
  absl::StatusOr<int64_t> Size(absl::string_view key, std::optional<int64_t> fallback, int64_t limit = kMaxSize) const;
  absl::StatusOr<bool> Bool(absl::string_view key, bool fallback) const;
  absl::StatusOr<std::string> Text(absl::string_view key, absl::string_view fallback) const;
  absl::StatusOr<double> Number(absl::string_view key, std::optional<double> fallback, NumberRange range) const;

  absl::Status Invalid(absl::string_view why) const;

 private:
  // The spelling that is there; `key` when none is.
  absl::StatusOr<std::string> SpellingOf(absl::string_view key) const;

  const Json& json_;
  const std::string& source_;
  absl::Span<const KeyAlias> aliases_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_CONFIG_READER_H_
