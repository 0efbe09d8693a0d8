#include "core/formats/load_certificate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace quantd {

void LoadCertificate::Compare(absl::string_view module, absl::Span<const float> expected,
                              absl::Span<const float> decoded) {
  if (module != last_module) {
    last_module = std::string(module);
    ++modules;
  }
  values += static_cast<int64_t>(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == decoded[i]) continue;  // NaN on either side counts as different
    ++different_values;
    const double difference = std::abs(double{expected[i]} - double{decoded[i]});
    const double error = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
    if (worst_module.empty() || error > worst_absolute_error) worst_module = last_module;
    worst_absolute_error = std::max(worst_absolute_error, error);
    worst_relative_error = std::max(worst_relative_error, error / std::abs(double{expected[i]}));
  }
}

Json LoadCertificate::ToJson() const {
  Json json = {{"consumer", consumer}, {"layout", layout}, {"rules", rules},
               {"modules", modules},   {"values", values}, {"different_values", different_values},
               {"exact", exact()}};
  if (!exact()) {
    // JSON has no infinity: a value that cannot be compared is written as text.
    const auto number = [](double x) { return std::isfinite(x) ? Json(x) : Json("infinite"); };
    json["worst_absolute_error"] = number(worst_absolute_error);
    json["worst_relative_error"] = number(worst_relative_error);
    json["worst_module"] = worst_module;
  }
  return json;
}

}  // namespace quantd
