#include "core/quant/sensitivity_registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/quant/name_suggestion.h"

namespace quantd {
namespace {

const SensitivityChoice* FindSensitivity(absl::string_view name) {
  for (const SensitivityChoice& choice : SensitivityChoices()) {
    if (name == choice.info.name) return &choice;
  }
  return nullptr;
}

SensitivityData DataOf(const SitePlan& plan) {
  const SensitivityChoice* choice = FindSensitivity(plan.parameters.Text("sensitivity"));
  return plan.skip || choice == nullptr ? SensitivityData::kNone : choice->data;
}

}  // namespace

// Every sensitivity a recipe may name.
absl::Span<const SensitivityChoice> SensitivityChoices() {
  static constexpr const char* kInputParameters[] = {"calibration_sequences", "true_sequential",
                                                     "sensitivity_accumulation"};
  static constexpr const char* kOutputParameters[] = {"calibration_sequences",
                                                      "true_sequential",
                                                      "sensitivity_accumulation",
                                                      "hessian_model",
                                                      "fisher",
                                                      "labels",
                                                      "gradient_precision",
                                                      "shrinkage"};
  static constexpr SensitivityChoice kSensitivities[] = {
      {{"uniform", "every weight of a layer costs the same; no calibration data", {}, "plain squared weight error"},
       SensitivityData::kNone,
       &MakeUniformSensitivity},
      {{"input", "squared error of the layer's output on the calibration inputs, H = 2 X^T X", kInputParameters,
        "GPTQ, arXiv 2210.17323; f64 sums are ours"},
       SensitivityData::kInputs,
       &MakeInputSensitivity,
       &InputSensitivityBytes},
      {{"output_adaptive", "change of the model's own loss: H from the gradients of calibration sequences",
        kOutputParameters,
        "OAC's Hessian, sum of G^T G, is fisher = sequence with hessian_model = full; the other forms are ours",
        &OutputSensitivityRows},
       SensitivityData::kGradients,
       &MakeOutputSensitivity,
       &OutputSensitivityBytes},
  };
  return kSensitivities;
}

std::vector<const ChoiceInfo*> SensitivityChoiceInfos() {
  std::vector<const ChoiceInfo*> infos;
  for (const SensitivityChoice& choice : SensitivityChoices()) infos.push_back(&choice.info);
  return infos;
}

absl::StatusOr<std::unique_ptr<Sensitivity>> MakeSensitivity(const SitePlan& plan) {
  const std::string& name = plan.parameters.Text("sensitivity");
  if (const SensitivityChoice* choice = FindSensitivity(name); choice != nullptr) return choice->make(plan);
  std::vector<std::string> known;
  for (const SensitivityChoice& choice : SensitivityChoices()) known.emplace_back(choice.info.name);
  return InvalidInput("RECIPE_UNKNOWN_CHOICE",
                      absl::StrFormat("there is no sensitivity '%s'; %s", name, KnownNames(known, name)));
}

bool NeedsCalibration(absl::Span<const SitePlan> plans) {
  return std::any_of(plans.begin(), plans.end(),
                     [](const SitePlan& plan) { return DataOf(plan) != SensitivityData::kNone; });
}

bool NeedsGradients(const SitePlan& plan) {
  return DataOf(plan) == SensitivityData::kGradients;
}

uint64_t SensitivityBytes(const SitePlan& plan) {
  const SensitivityChoice* choice = FindSensitivity(plan.parameters.Text("sensitivity"));
  return plan.skip || choice == nullptr || choice->memory_bytes == nullptr ? 0 : choice->memory_bytes(plan);
}

std::string SensitivityText(const Parameters& parameters) {
  std::string text = parameters.Text("sensitivity");
  const SensitivityChoice* choice = FindSensitivity(text);
  if (choice == nullptr) return text;
  const Json values = parameters.ToJson();
  for (const char* name : choice->info.parameters) {
    if (name == absl::string_view("calibration_sequences")) continue;
    const Json& value = values[name];
    absl::StrAppend(&text, ", ", name, "=", value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

}  // namespace quantd
