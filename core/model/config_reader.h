// Typed, bounded members of config.json. Every failure is CONFIG_INVALID and names file, field, value and limit.
#ifndef QUANTD_CORE_MODEL_CONFIG_READER_H_
#define QUANTD_CORE_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"

namespace quantd {

// Both arguments must outlive the reader. A key "" stands for a field that the family does not have: its fallback.
class ConfigReader {
 public:
  static constexpr int64_t kMaxSize = 1 << 24;

  ConfigReader(const Json& json, const std::string& source) : json_(json), source_(source) {}

  // There and not null.
  bool Has(absl::string_view key) const { return Find(key) != nullptr; }
  // There, possibly null.
  bool Mentions(absl::string_view key) const;
  // nullptr when absent or null.
  const Json* Find(absl::string_view key) const;

  // 1..limit. Without a fallback the field must be there.
  absl::StatusOr<int64_t> Size(absl::string_view key, std::optional<int64_t> fallback, int64_t limit = kMaxSize) const;
  absl::StatusOr<bool> Bool(absl::string_view key, bool fallback) const;
  absl::StatusOr<std::string> Text(absl::string_view key, absl::string_view fallback) const;
  // Positive and finite.
  absl::StatusOr<double> Positive(absl::string_view key, double fallback) const;

  absl::Status Invalid(absl::string_view why) const;

 private:
  const Json& json_;
  const std::string& source_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_CONFIG_READER_H_
