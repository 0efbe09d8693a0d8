#include "core/quant/grid.h"
#include "core/quant/uniform_grid.h"
#include "core/quant/uniform_weight.h"

namespace quantd {

// Every grid a recipe may name.
absl::Span<const GridChoice> GridChoices() {
  static constexpr const char* kUniformParameters[] = {"bits",        "group_size",  "symmetric", "symmetric_range",
                                                       "clip_search", "scale_dtype", "per_row"};
  static constexpr GridChoice kGrids[] = {
      {{"uniform", "evenly spaced levels: one scale, and a zero point unless symmetric, for each row and group",
        kUniformParameters, "as in the GPTQ code (IST-DASLab/gptq quant.py); rounding of stored scales is ours"},
       &MakeUniformGrid,
       &ReadUniformWeight},
  };
  return kGrids;
}

std::vector<const ChoiceInfo*> GridChoiceInfos() {
  std::vector<const ChoiceInfo*> infos;
  for (const GridChoice& choice : GridChoices()) infos.push_back(&choice.info);
  return infos;
}

std::unique_ptr<Grid> MakeGrid(const Parameters& parameters) {
  for (const GridChoice& choice : GridChoices()) {
    if (parameters.Text("grid") == choice.info.name) return choice.make(parameters);
  }
  return nullptr;
}

}  // namespace quantd
