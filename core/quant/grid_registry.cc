#include "core/quant/binary_coded_grid.h"
#include "core/quant/binary_coded_weight.h"
#include "core/quant/grid.h"
#include "core/quant/residual_binary_grid.h"
#include "core/quant/residual_binary_weight.h"
#include "core/quant/two_level_grid.h"
#include "core/quant/two_level_weight.h"
#include "core/quant/uniform_grid.h"
#include "core/quant/uniform_weight.h"

namespace quantd {

// Every grid a recipe may name.
absl::Span<const GridChoice> GridChoices() {
  static constexpr const char* kUniformParameters[] = {"bits",        "group_size",  "symmetric", "symmetric_range",
                                                       "clip_search", "scale_dtype", "per_row"};
  static constexpr const char* kTwoLevelParameters[] = {
      "bits",      "group_size", "symmetric", "symmetric_range",   "scale_dtype",   "scale_bits",  "zero_bits",
      "tile_rows", "round_zero", "outliers",  "outlier_threshold", "outlier_dtype", "equal_values"};
  static constexpr const char* kBinaryParameters[] = {"binary_block_size", "saliency", "binary_search", "subtract_mean",
                                                      "scale_dtype"};
  static constexpr const char* kBinaryCodedParameters[] = {"bits",         "group_size",  "linear_bits", "codebooks",
                                                           "scale_points", "scale_from",  "scale_to",    "search_zero",
                                                           "roundings",    "search_cost", "scale_dtype"};
  static constexpr const char* kBcqParameters[] = {"bits", "group_size", "bcq_rounds", "scale_dtype"};
  static constexpr GridChoice kGrids[] = {
      {{"uniform", "evenly spaced levels: one scale, and a zero point unless symmetric, for each row and group",
        kUniformParameters, "as in the GPTQ code (IST-DASLab/gptq quant.py); rounding of stored scales is ours"},
       &MakeUniformGrid,
       &ReadUniformWeight},
      {{"two_level", "small groups whose scales and zero points are coded again, single outliers kept apart",
        kTwoLevelParameters, "SpQR, arXiv 2306.03078, Vahe1994/SpQR; equal values, f16 and storage are ours",
        &TwoLevelParameters},
       &MakeTwoLevelGrid,
       &ReadTwoLevelWeight},
      {{"residual_binary", "two values a weight, four in a few salient columns; blocks of columns coded together",
        kBinaryParameters, "BiLLM, arXiv 2402.04291, Aaronhuang-778/BiLLM; storage is ours", &ResidualBinaryParameters},
       &MakeResidualBinaryGrid,
       &ReadResidualBinaryWeight},
      {{"binary_coded", "planes of signs for weights that were rounded to more bits first; the scale is searched",
        kBinaryCodedParameters,
        "GPTQT, arXiv 2407.02891, had in outline only: codebooks, search and cost are our reconstruction",
        &BinaryCodedParameters},
       &MakeBinaryCodedGrid,
       &ReadBinaryCodedWeight},
      {{"bcq", "planes of signs fitted to the weights themselves, greedily and then alternating", kBcqParameters,
        "BCQ as released with LUT-GEMM (naver-aics/lut-gemm)", &BcqParameters},
       &MakeBcqGrid,
       &ReadBinaryCodedWeight},
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
