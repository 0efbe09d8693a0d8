#include "client/text/recipe_text.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/text/error_text.h"
#include "client/text/table.h"
#include "core/base/status.h"

namespace quantd {
namespace {

const v1::Preset* FindPreset(const v1::ListRecipesResponse& catalogue, absl::string_view name) {
  for (const v1::Preset& preset : catalogue.presets()) {
    if (preset.name() == name) return &preset;
  }
  return nullptr;
}

bool IsChosen(const v1::Preset& preset, const v1::PartChoice& choice) {
  const auto part = preset.parts().find(choice.part());
  return part != preset.parts().end() && part->second == choice.name();
}

// Names of the parameters that matter to the preset: those its choices read, and those that no choice reads, for they
// belong to every recipe.
std::set<std::string> ParametersOf(const v1::ListRecipesResponse& catalogue, const v1::Preset& preset) {
  std::set<std::string> wanted;
  for (const v1::Parameter& parameter : catalogue.parameters()) wanted.insert(parameter.name());
  for (const v1::PartChoice& choice : catalogue.choices()) {
    for (const std::string& name : choice.parameters()) wanted.erase(name);
  }
  for (const v1::PartChoice& choice : catalogue.choices()) {
    if (IsChosen(preset, choice)) wanted.insert(choice.parameters().begin(), choice.parameters().end());
  }
  return wanted;
}

// The part choices are parameters too: "grid".
std::string DefaultOf(const v1::Preset& preset, const v1::Parameter& parameter) {
  const auto part = preset.parts().find(parameter.name());
  if (part != preset.parts().end()) return part->second;
  const auto found = preset.defaults().find(parameter.name());
  return found == preset.defaults().end() ? parameter.default_value() : found->second;
}

std::string RangeText(const v1::Parameter& parameter) {
  if (parameter.choices_size() > 0) return absl::StrJoin(parameter.choices(), " | ");
  if (parameter.type() == "bool") return "true | false";
  const std::string unit = parameter.unit().empty() ? "" : " " + parameter.unit();
  if (parameter.minimum() == 0 && parameter.maximum() == 0) return unit;
  return absl::StrFormat("%.10g to %.10g%s", parameter.minimum(), parameter.maximum(), unit);
}

std::string PartsText(const v1::ListRecipesResponse& catalogue, const v1::Preset& preset) {
  Table table({"PART", "CHOICE", ""});
  for (const v1::PartChoice& choice : catalogue.choices()) {
    if (IsChosen(preset, choice)) table.Add({choice.part(), choice.name(), choice.summary()});
  }
  return table.Text();
}

std::string ParametersText(const v1::ListRecipesResponse& catalogue, const v1::Preset& preset) {
  const std::set<std::string> wanted = ParametersOf(catalogue, preset);
  Table table({"PARAMETER", "TYPE", "DEFAULT", "RANGE", ""});
  for (const v1::Parameter& parameter : catalogue.parameters()) {
    if (wanted.count(parameter.name()) == 0) continue;
    table.Add(
        {parameter.name(), parameter.type(), DefaultOf(preset, parameter), RangeText(parameter), parameter.help()});
  }
  return table.Text();
}

absl::Status UnknownPreset(const v1::ListRecipesResponse& catalogue, absl::string_view name) {
  std::vector<std::string> names;
  for (const v1::Preset& preset : catalogue.presets()) names.push_back(preset.name());
  return ReasonError(absl::StatusCode::kNotFound, "RECIPE_UNKNOWN",
                     absl::StrCat("no recipe '", name, "'; known: ", absl::StrJoin(names, ", ")));
}

}  // namespace

std::string RecipesText(const v1::ListRecipesResponse& catalogue) {
  Table table({"RECIPE", ""});
  for (const v1::Preset& preset : catalogue.presets()) table.Add({preset.name(), preset.summary()});
  return table.Text();
}

absl::StatusOr<std::string> RecipeText(const v1::ListRecipesResponse& catalogue, absl::string_view name) {
  const v1::Preset* const preset = FindPreset(catalogue, name);
  if (preset == nullptr) return UnknownPreset(catalogue, name);
  std::string text = absl::StrCat(Printable(preset->name()), ": ", Printable(preset->summary()), "\n");
  if (!preset->provenance().empty()) absl::StrAppend(&text, Printable(preset->provenance()), "\n");
  return absl::StrCat(text, "\n", PartsText(catalogue, *preset), "\n", ParametersText(catalogue, *preset),
                      "\nSet them with: quantctl submit --recipe ", name, " --set NAME=VALUE\n");
}

}  // namespace quantd
