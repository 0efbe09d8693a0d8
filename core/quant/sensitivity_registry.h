// The registry of sensitivities.
#ifndef QUANTD_CORE_QUANT_SENSITIVITY_REGISTRY_H_
#define QUANTD_CORE_QUANT_SENSITIVITY_REGISTRY_H_

#include <memory>
#include <vector>

#include "core/quant/part_registry.h"
#include "core/quant/sensitivity.h"

namespace quantd {

enum class SensitivityData { kNone, kInputs, kGradients };

// One row. A new sensitivity: its .cc, its test, its row in sensitivity_registry.cc, its paragraph in docs/methods.md.
struct SensitivityChoice {
  ChoiceInfo info;
  SensitivityData data;
  std::unique_ptr<Sensitivity> (*make)(const SitePlan& plan);
  uint64_t (*memory_bytes)(const SitePlan& plan) = nullptr;  // null: none
};

absl::Span<const SensitivityChoice> SensitivityChoices();

std::unique_ptr<Sensitivity> MakeUniformSensitivity(const SitePlan& plan);
std::unique_ptr<Sensitivity> MakeInputSensitivity(const SitePlan& plan);
uint64_t InputSensitivityBytes(const SitePlan& plan);
std::unique_ptr<Sensitivity> MakeOutputSensitivity(const SitePlan& plan);
uint64_t OutputSensitivityBytes(const SitePlan& plan);
std::vector<ParameterInfo> OutputSensitivityRows();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_SENSITIVITY_REGISTRY_H_
