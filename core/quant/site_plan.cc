// Rules applied to the layers of a model.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/quant/glob.h"
#include "core/quant/part_registry.h"
#include "core/quant/recipe.h"
#include "core/quant/recipe_check.h"

namespace quantd {
namespace {

std::vector<int64_t> Divisors(int64_t n) {
  std::vector<int64_t> divisors;
  for (int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    divisors.push_back(d);
    if (d != n / d) divisors.push_back(n / d);
  }
  std::sort(divisors.begin(), divisors.end());
  return divisors;
}

bool GridHasGroups(const Parameters& parameters) {
  const ChoiceInfo* grid = FindChoice(Parts()[static_cast<int>(Part::kGrid)], parameters.Text("grid"));
  return grid != nullptr && IsReadBy(*grid, "group_size");
}

absl::Status CheckGroupSize(const SitePlan& plan) {
  if (!GridHasGroups(plan.parameters)) return absl::OkStatus();
  const int64_t group_size = plan.parameters.Int("group_size");
  if (plan.skip || group_size == -1 || plan.site.cols % group_size == 0) return absl::OkStatus();
  return WithField(
      InvalidInput(
          "GROUP_SIZE_DOES_NOT_DIVIDE",
          absl::StrFormat("%s: group_size %d does not divide its %d inputs; the divisors are %s, or use -1 for one "
                          "group a row",
                          plan.site.name, group_size, plan.site.cols, absl::StrJoin(Divisors(plan.site.cols), ", "))),
      "recipe.overrides.group_size");
}

absl::Status CheckEveryRuleMatches(const Recipe& recipe, absl::Span<const LinearSite> sites) {
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const std::string& pattern = recipe.rules[i].pattern;
    const bool matches = std::any_of(sites.begin(), sites.end(),
                                     [&](const LinearSite& site) { return GlobMatches(pattern, site.name); });
    if (matches) continue;
    return WithField(
        InvalidInput("RULE_MATCHES_NOTHING",
                     absl::StrFormat("the rule '%s' matches none of the model's %d layers%s", pattern, sites.size(),
                                     sites.empty() ? "" : absl::StrCat("; the first is '", sites[0].name, "'"))),
        absl::StrFormat("recipe.rules[%d].pattern", i));
  }
  return absl::OkStatus();
}

absl::StatusOr<SitePlan> PlanSite(const Recipe& recipe, const LinearSite& site) {
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    if (!GlobMatches(recipe.rules[i].pattern, site.name)) continue;
    ASSIGN_OR_RETURN(RuleEffect effect,
                     ApplyRule(recipe.rules[i], recipe.parameters, absl::StrFormat("recipe.rules[%d]", i)));
    return SitePlan{site, effect.skip, std::move(effect.parameters)};
  }
  return SitePlan{site, false, recipe.parameters};
}

}  // namespace

absl::StatusOr<std::vector<SitePlan>> PlanSites(const Recipe& recipe, absl::Span<const LinearSite> sites) {
  RETURN_IF_ERROR(CheckEveryRuleMatches(recipe, sites));
  std::vector<SitePlan> plans;
  plans.reserve(sites.size());
  for (const LinearSite& site : sites) {
    ASSIGN_OR_RETURN(SitePlan plan, PlanSite(recipe, site));
    RETURN_IF_ERROR(CheckGroupSize(plan));
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace quantd
