// Applying overrides to a set of parameters, and what must hold between parameters.
#ifndef QUANTD_CORE_QUANT_RECIPE_CHECK_H_
#define QUANTD_CORE_QUANT_RECIPE_CHECK_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"
#include "core/quant/recipe.h"

namespace quantd {

// `base` with `overrides` (an object, or null for none) on top, checked name by name and as a whole. Errors carry the
// field `field`.<name>.
absl::StatusOr<Parameters> ApplyOverrides(const Json& overrides, const Parameters& base, absl::string_view field);

// What one rule makes of a layer. `field` is the rule's own path, "recipe.rules[3]".
struct RuleEffect {
  bool skip = false;
  Parameters parameters;
};
absl::StatusOr<RuleEffect> ApplyRule(const LayerRule& rule, const Parameters& base, absl::string_view field);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RECIPE_CHECK_H_
