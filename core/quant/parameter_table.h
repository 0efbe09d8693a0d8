// Every parameter a recipe may carry: one row each. The part choices ("grid" -> "uniform") are rows too.
#ifndef QUANTD_CORE_QUANT_PARAMETER_TABLE_H_
#define QUANTD_CORE_QUANT_PARAMETER_TABLE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/json.h"
#include "core/quant/recipe.h"

namespace quantd {

enum class ParameterType { kInt, kFloat, kBool, kChoice };

struct ParameterInfo {
  std::string name;
  ParameterType type;
  std::string default_value;  // as it would be typed after "--set name="
  double minimum = 0;         // kInt and kFloat: inclusive bounds
  double maximum = 0;
  std::vector<std::string> choices;  // kChoice
  std::string unit;                  // "" for a pure number
  std::string help;                  // one line
};

// Part choices first, then in the order help shows them; last the rows that single choices bring along.
const std::vector<ParameterInfo>& ParameterTable();
const ParameterInfo* FindParameter(absl::string_view name);  // nullptr when unknown
std::vector<std::string> ParameterNames();
absl::string_view ParameterTypeName(ParameterType type);  // "int", "float", "bool", "choice"

// Checks type, range and choice of a number, bool or string. A string is converted ("3", "0.01", "true"), a number with
// no fraction serves as an integer. Reasons: RECIPE_PARAMETER_TYPE, RECIPE_PARAMETER_OUT_OF_RANGE,
// RECIPE_UNKNOWN_CHOICE.
absl::StatusOr<ParameterValue> ParameterFromJson(const ParameterInfo& info, const Json& value);

// Every parameter at its default.
Parameters DefaultParameters();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_PARAMETER_TABLE_H_
