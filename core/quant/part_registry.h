// The five parts of a recipe and the choices registered for each.
//
// A choice is one row of its part's table (core/quant/<part>_registry.cc). Validation, the catalogue, help, the docs
// check and the generic tests all read these rows, so that a new choice appears everywhere at once.
#ifndef QUANTD_CORE_QUANT_PART_REGISTRY_H_
#define QUANTD_CORE_QUANT_PART_REGISTRY_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

enum class Part { kTransform, kSensitivity, kGrid, kSolver, kActivations };

struct ParameterInfo;

struct ChoiceInfo {
  const char* name;
  const char* summary;                       // one line
  absl::Span<const char* const> parameters;  // that the choice reads; rows of the parameter table
  const char* provenance;                    // paper, or what is our own reconstruction
  // Rows of the parameter table that came with this choice; those that several share stand in the table itself.
  std::vector<ParameterInfo> (*own_rows)() = nullptr;
};

struct PartInfo {
  Part part;
  const char* name;      // also the parameter that names the choice
  const char* question;  // what the part decides
  std::vector<const ChoiceInfo*> (*choices)();
};

// In the order of a recipe: transform, sensitivity, grid, solver, activations.
absl::Span<const PartInfo> Parts();

const ChoiceInfo* FindChoice(const PartInfo& part, absl::string_view name);  // nullptr when unknown
std::vector<std::string> ChoiceNames(const PartInfo& part);
bool IsReadBy(const ChoiceInfo& choice, absl::string_view parameter);

// The tables, one a part.
std::vector<const ChoiceInfo*> TransformChoices();
std::vector<const ChoiceInfo*> SensitivityChoiceInfos();
std::vector<const ChoiceInfo*> GridChoiceInfos();
std::vector<const ChoiceInfo*> SolverChoiceInfos();
std::vector<const ChoiceInfo*> ActivationsChoices();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_PART_REGISTRY_H_
