#include "core/quant/part_registry.h"

#include <algorithm>

namespace quantd {

absl::Span<const PartInfo> Parts() {
  static constexpr PartInfo kParts[] = {
      {Part::kTransform, "transform", "which function-preserving rewrite comes first", &TransformChoices},
      {Part::kSensitivity, "sensitivity", "what an error in a weight costs", &SensitivityChoiceInfos},
      {Part::kGrid, "grid", "which values a weight may take", &GridChoiceInfos},
      {Part::kSolver, "solver", "how one weight's error is repaid by the others", &SolverChoiceInfos},
      {Part::kActivations, "activations", "whether inputs are quantized at run time", &ActivationsChoices},
  };
  return kParts;
}

const ChoiceInfo* FindChoice(const PartInfo& part, absl::string_view name) {
  for (const ChoiceInfo* choice : part.choices()) {
    if (name == choice->name) return choice;
  }
  return nullptr;
}

bool IsReadBy(const ChoiceInfo& choice, absl::string_view parameter) {
  return std::any_of(choice.parameters.begin(), choice.parameters.end(),
                     [&](const char* name) { return parameter == name; });
}

std::vector<std::string> ChoiceNames(const PartInfo& part) {
  std::vector<std::string> names;
  for (const ChoiceInfo* choice : part.choices()) names.emplace_back(choice->name);
  return names;
}

}  // namespace quantd
