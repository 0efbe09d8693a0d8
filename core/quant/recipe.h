// A recipe is five independent choices (parts) and their parameters; a preset is a named recipe.
//
//   transform    which function-preserving rewrite comes first          none, ...
//   sensitivity  what an error in a weight costs                        uniform, input, ...
//   grid         which values a weight may take                         uniform, ...
//   solver       how one weight's error is repaid by the others         nearest, optq
//   activations  whether inputs are quantized at run time               none, ...
//
// Each part has a registry table in its own file (core/quant/<part>_registry.cc): one row a choice. A new choice is its
// .cc, its test, its row, its paragraph in docs/methods.md. Everything else (validation, catalogue, help, docs check)
// reads the tables.
#ifndef QUANTD_CORE_QUANT_RECIPE_H_
#define QUANTD_CORE_QUANT_RECIPE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/json.h"
#include "core/model/linear_site.h"

namespace quantd {

using ParameterValue = std::variant<int64_t, double, bool, std::string>;

// A complete set of parameters, defaults filled in. The part choices are parameters too: "grid" -> "uniform".
class Parameters {
 public:
  int64_t Int(absl::string_view name) const;
  double Double(absl::string_view name) const;
  bool Bool(absl::string_view name) const;
  const std::string& Text(absl::string_view name) const;
  void Set(absl::string_view name, ParameterValue value);
  const std::map<std::string, ParameterValue>& values() const { return values_; }
  Json ToJson() const;

 private:
  std::map<std::string, ParameterValue> values_;
};

// An immutable JSON value held behind a pointer, so that this header needs no JSON library. Made from a Json, read as
// one.
class SharedJson {
 public:
  SharedJson();            // null
  SharedJson(Json value);  // NOLINT(google-explicit-constructor): stands for the value
  const Json& get() const { return *value_; }
  operator const Json&() const { return *value_; }  // NOLINT(google-explicit-constructor)

 private:
  std::shared_ptr<const Json> value_;
};

struct LayerRule {
  std::string pattern;   // glob over module names: `*` any run of characters, `?` one
  SharedJson overrides;  // object; may hold "skip": true
};

struct Recipe {
  std::string preset;
  Parameters parameters;  // preset and overrides merged
  std::vector<LayerRule> rules;
  Json ToJson() const;  // canonical: what fingerprints and manifests hold
};

// `overrides` is an object of numbers, bools and strings; a string is converted to the parameter's type ("--set
// bits=3"). Reasons: RECIPE_UNKNOWN, RECIPE_UNKNOWN_CHOICE, RECIPE_UNKNOWN_PARAMETER (each with the known names and the
// nearest one), RECIPE_PARAMETER_TYPE, RECIPE_PARAMETER_OUT_OF_RANGE, RECIPE_ILLEGAL_COMBINATION. FieldOf() is
// "recipe.overrides.<name>".
absl::StatusOr<Recipe> MakeRecipe(absl::string_view preset, const Json& overrides, std::vector<LayerRule> rules);

// What is done to one site.
struct SitePlan {
  LinearSite site;
  bool skip = false;
  Parameters parameters;
};

// Applies the rules: one plan a site, in the order of `sites`. RULE_MATCHES_NOTHING; GROUP_SIZE_DOES_NOT_DIVIDE (names
// site, inputs, group size and the divisors that would work).
absl::StatusOr<std::vector<SitePlan>> PlanSites(const Recipe& recipe, absl::Span<const LinearSite> sites);

// True when some site needs calibration data.
bool NeedsCalibration(absl::Span<const SitePlan> plans);

// Every preset, part, choice and parameter as JSON with the fields of quantd.v1.ListRecipesResponse (snake_case).
Json RecipeCatalogue();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RECIPE_H_
