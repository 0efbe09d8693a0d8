#include "core/quant/recipe_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/quant/binary_coded_grid.h"
#include "core/quant/name_suggestion.h"
#include "core/quant/parameter_table.h"
#include "core/quant/part_registry.h"

namespace quantd {
namespace {

// Combinations that have no meaning although each value is legal. `parameter` is the one to point at.
struct IllegalCombination {
  const char* parameter;
  bool (*applies)(const Parameters&);
  const char* message;
};
constexpr IllegalCombination kIllegalCombinations[] = {
    {"solver", [](const Parameters& p) { return p.Text("solver") == "optq" && p.Text("sensitivity") == "uniform"; },
     "solver 'optq' weighs errors by a sensitivity, and 'uniform' has none: set sensitivity=input, or solver=nearest"},
    {"symmetric", [](const Parameters& p) { return p.Bool("symmetric") && p.Int("bits") == 1; },
     "a symmetric 1-bit grid has the two levels 0 and -2 max: set symmetric=false, or bits=2 and more"},
    {"bits", [](const Parameters& p) { return p.Text("grid") == "binary_coded" && p.Int("bits") > 4; },
     "grid 'binary_coded' searches codebooks of 1 to 4 planes: set bits=4 or less, or grid=uniform"},
    {"linear_bits",
     [](const Parameters& p) {
       return p.Text("grid") == "binary_coded" && p.Int("linear_bits") != 0 && p.Int("linear_bits") < p.Int("bits");
     },
     "the linear step cannot have fewer bits than the binary codes made of it: set linear_bits to bits or more, or to "
     "0 "
     "for a good one"},
    {"codebooks", [](const Parameters& p) { return p.Text("grid") == "binary_coded" && HasTooManyCodebooks(p); },
     "there are more than 100000 sets of so many linear bits and planes: set codebooks=spanning, or fewer linear_bits"},
    {"symmetric_range",
     [](const Parameters& p) { return p.Text("symmetric_range") == "authors" && !p.Bool("symmetric"); },
     "symmetric_range=authors means something with symmetric=true only: set that too"},
};

absl::Status CheckCombinations(const Parameters& parameters, absl::string_view field) {
  for (const IllegalCombination& row : kIllegalCombinations) {
    if (!row.applies(parameters)) continue;
    return WithField(InvalidInput("RECIPE_ILLEGAL_COMBINATION", row.message), absl::StrCat(field, ".", row.parameter));
  }
  // The table's range of group_size has a hole that bounds cannot state.
  if (parameters.Int("group_size") != 0) return absl::OkStatus();
  return WithField(
      InvalidInput("RECIPE_PARAMETER_OUT_OF_RANGE",
                   "recipe parameter 'group_size' is 0; give a divisor of the layer's inputs, or -1 for one "
                   "group a row"),
      absl::StrCat(field, ".group_size"));
}

// A changed value that no chosen part reads would be silently without effect.
absl::Status CheckIsRead(const std::string& parameter, const Parameters& base, const Parameters& parameters) {
  if (base.values().at(parameter) == parameters.values().at(parameter)) return absl::OkStatus();
  std::vector<std::string> choices;
  for (const PartInfo& part : Parts()) {
    if (parameter == part.name) return absl::OkStatus();
    const ChoiceInfo* choice = FindChoice(part, parameters.Text(part.name));
    if (choice != nullptr && IsReadBy(*choice, parameter)) return absl::OkStatus();
    choices.push_back(absl::StrCat(part.name, "=", parameters.Text(part.name)));
  }
  return InvalidInput(
      "RECIPE_ILLEGAL_COMBINATION",
      absl::StrFormat("recipe parameter '%s' has no effect here, none of %s reads it: leave it out, or choose "
                      "another recipe",
                      parameter, absl::StrJoin(choices, ", ")));
}

absl::StatusOr<ParameterValue> CheckedValue(const std::string& name, const Json& value) {
  const ParameterInfo* info = FindParameter(name);
  if (info != nullptr) return ParameterFromJson(*info, value);
  return InvalidInput(
      "RECIPE_UNKNOWN_PARAMETER",
      absl::StrFormat("there is no recipe parameter '%s'; %s", name.substr(0, 64), KnownNames(ParameterNames(), name)));
}

absl::StatusOr<bool> SkipOf(const Json& overrides, absl::string_view field) {
  if (!overrides.is_object() || !overrides.contains("skip")) return false;
  if (overrides["skip"].is_boolean()) return overrides["skip"].get<bool>();
  return WithField(InvalidInput("RECIPE_PARAMETER_TYPE", "'skip' of a rule must be true or false"),
                   absl::StrCat(field, ".overrides.skip"));
}

}  // namespace

absl::StatusOr<Parameters> ApplyOverrides(const Json& overrides, const Parameters& base, absl::string_view field) {
  Parameters parameters = base;
  if (overrides.is_null()) return parameters;
  if (!overrides.is_object()) {
    return WithField(
        InvalidInput("RECIPE_PARAMETER_TYPE", "recipe overrides must be an object of parameter names and values"),
        field);
  }
  for (const auto& [name, value] : overrides.items()) {
    absl::StatusOr<ParameterValue> checked = CheckedValue(name, value);
    if (!checked.ok()) return WithField(checked.status(), absl::StrCat(field, ".", name));
    parameters.Set(name, *std::move(checked));
  }
  for (const auto& [name, value] : overrides.items()) {
    if (absl::Status status = CheckIsRead(name, base, parameters); !status.ok()) {
      return WithField(status, absl::StrCat(field, ".", name));
    }
  }
  RETURN_IF_ERROR(CheckCombinations(parameters, field));
  return parameters;
}

absl::StatusOr<RuleEffect> ApplyRule(const LayerRule& rule, const Parameters& base, absl::string_view field) {
  RuleEffect effect;
  ASSIGN_OR_RETURN(effect.skip, SkipOf(rule.overrides.get(), field));
  Json overrides = rule.overrides.get();
  if (overrides.is_object()) overrides.erase("skip");
  ASSIGN_OR_RETURN(effect.parameters, ApplyOverrides(overrides, base, absl::StrCat(field, ".overrides")));
  return effect;
}

}  // namespace quantd
