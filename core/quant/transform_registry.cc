#include "core/quant/part_registry.h"

namespace quantd {

// Every transform a recipe may name.
std::vector<const ChoiceInfo*> TransformChoices() {
  static constexpr ChoiceInfo kTransforms[] = {
      {"none", "weights as they are in the checkpoint", {}, "no rewrite"},
  };
  return {&kTransforms[0]};
}

}  // namespace quantd
