#include "core/quant/part_registry.h"

namespace quantd {

// Every run-time quantization of inputs a recipe may name.
std::vector<const ChoiceInfo*> ActivationsChoices() {
  static constexpr ChoiceInfo kActivations[] = {
      {"none", "inputs stay in the model's own precision", {}, "weight-only quantization"},
  };
  return {&kActivations[0]};
}

}  // namespace quantd
