#include "core/quant/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/quant/name_suggestion.h"
#include "core/quant/parameter_table.h"
#include "core/quant/part_registry.h"
#include "core/quant/preset_table.h"
#include "core/quant/recipe_check.h"

namespace quantd {
namespace {

constexpr size_t kMaxRules = 4096;
constexpr size_t kMaxPatternBytes = 256;

// Table rows are checked by test: .value() cannot throw for them.
Parameters PresetParameters(const PresetInfo& preset) {
  Parameters parameters = DefaultParameters();
  for (const auto& settings : {preset.parts, preset.defaults}) {
    for (const auto& [name, value] : settings) {
      parameters.Set(name, ParameterFromJson(*FindParameter(name), Json(value)).value());
    }
  }
  return parameters;
}

absl::Status CheckRuleShape(const LayerRule& rule, absl::string_view field) {
  if (rule.pattern.empty() || rule.pattern.size() > kMaxPatternBytes) {
    return WithField(InvalidInput("RULE_PATTERN_INVALID", absl::StrFormat("a rule's pattern has %d bytes; give 1 to %d",
                                                                          rule.pattern.size(), kMaxPatternBytes)),
                     absl::StrFormat("%s.pattern", field));
  }
  return absl::OkStatus();
}

// The overrides with each value in its parameter's type: equal rules have equal fingerprints, however they were
// written.
Json CanonicalOverrides(const Json& overrides, const Parameters& applied) {
  if (!overrides.is_object()) return Json::object();
  Json canonical = overrides;
  const Json values = applied.ToJson();
  for (auto& [name, value] : canonical.items()) {
    if (name != "skip") value = values[name];
  }
  return canonical;
}

// Checks every rule and makes its overrides canonical.
absl::Status CheckRules(Recipe& recipe) {
  if (recipe.rules.size() > kMaxRules) {
    return WithField(InvalidInput("RULES_TOO_MANY", absl::StrFormat("a recipe may have %d rules, not %d", kMaxRules,
                                                                    recipe.rules.size())),
                     "recipe.rules");
  }
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const std::string field = absl::StrFormat("recipe.rules[%d]", i);
    LayerRule& rule = recipe.rules[i];
    RETURN_IF_ERROR(CheckRuleShape(rule, field));
    ASSIGN_OR_RETURN(const RuleEffect effect, ApplyRule(rule, recipe.parameters, field));
    rule.overrides = CanonicalOverrides(rule.overrides.get(), effect.parameters);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Recipe> MakeRecipe(absl::string_view preset, const Json& overrides, std::vector<LayerRule> rules) {
  const PresetInfo* info = FindPreset(preset);
  if (info == nullptr) {
    return WithField(InvalidInput("RECIPE_UNKNOWN", absl::StrFormat("there is no recipe '%s'; %s", preset.substr(0, 64),
                                                                    KnownNames(PresetNames(), preset))),
                     "recipe.preset");
  }
  Recipe recipe{.preset = info->name, .parameters = PresetParameters(*info), .rules = std::move(rules)};
  ASSIGN_OR_RETURN(recipe.parameters, ApplyOverrides(overrides, recipe.parameters, "recipe.overrides"));
  RETURN_IF_ERROR(CheckRules(recipe));
  return recipe;
}

SharedJson::SharedJson() : SharedJson(Json()) {}
SharedJson::SharedJson(Json value) : value_(std::make_shared<const Json>(std::move(value))) {}

Json Recipe::ToJson() const {
  Json rule_list = Json::array();
  for (const LayerRule& rule : rules)
    rule_list.push_back({{"pattern", rule.pattern}, {"overrides", rule.overrides.get()}});
  return {{"preset", preset}, {"parameters", parameters.ToJson()}, {"rules", rule_list}};
}

}  // namespace quantd
