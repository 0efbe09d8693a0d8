#include "core/quant/preset_table.h"

namespace quantd {
namespace {

// Recipes that share a grid share its defaults, so that they compare at equal bits.
std::vector<PresetInfo::Setting> TwoLevelDefaults() {
  return {{"bits", "2"}, {"group_size", "32"}, {"outlier_threshold", "1"}, {"act_order", "true"}, {"damping", "1"}};
}

std::vector<PresetInfo::Setting> ResidualBinaryDefaults() {
  return {{"damping", "1"}};
}

std::vector<PresetInfo::Setting> OutputAdaptive(std::vector<PresetInfo::Setting> defaults) {
  defaults.emplace_back("labels", "sampled");
  return defaults;
}

}  // namespace

const std::vector<PresetInfo>& PresetTable() {
  static const auto* const kPresets = new std::vector<PresetInfo>{
      {"rtn",
       "round to nearest: no calibration data, seconds, the baseline",
       {{"transform", "none"},
        {"sensitivity", "uniform"},
        {"grid", "uniform"},
        {"solver", "nearest"},
        {"activations", "none"}},
       {},
       "folklore; grid as in the GPTQ code"},
      {"gptq",
       "column sweep that repays each rounding error by the columns after it, guided by calibration inputs",
       {{"transform", "none"},
        {"sensitivity", "input"},
        {"grid", "uniform"},
        {"solver", "optq"},
        {"activations", "none"}},
       {{"act_order", "true"}, {"static_groups", "true"}, {"true_sequential", "true"}},
       "GPTQ, arXiv 2210.17323, and IST-DASLab/gptq; defaults are ours"},
      {"gptqt",
       "gptq whose values are sums of signs: rounded to more bits first, then to binary codes with a searched scale",
       {{"transform", "none"},
        {"sensitivity", "input"},
        {"grid", "binary_coded"},
        {"solver", "optq"},
        {"activations", "none"}},
       {{"bits", "3"},
        {"group_size", "-1"},
        {"act_order", "true"},
        {"static_groups", "true"},
        {"true_sequential", "true"}},
       "GPTQT, arXiv 2407.02891; the paper was had in outline only: codebooks, search and defaults are ours"},
      {"bcq",
       "binary codes fitted to the weights alone: no calibration data, what gptqt is compared with",
       {{"transform", "none"},
        {"sensitivity", "uniform"},
        {"grid", "bcq"},
        {"solver", "nearest"},
        {"activations", "none"}},
       {{"bits", "3"}, {"group_size", "-1"}},
       "BCQ as released with LUT-GEMM, naver-aics/lut-gemm"},
      {"spqr",
       "small groups with scales coded again, about 1 % outliers kept in 16 bits, and the column sweep of gptq",
       {{"transform", "none"},
        {"sensitivity", "input"},
        {"grid", "two_level"},
        {"solver", "optq"},
        {"activations", "none"}},
       TwoLevelDefaults(),
       "SpQR, arXiv 2306.03078, and the published commands of Vahe1994/SpQR"},
      {"billm",
       "one plane of signs for most columns, two for the salient ones: about 3 bits a weight with all scales",
       {{"transform", "none"},
        {"sensitivity", "input"},
        {"grid", "residual_binary"},
        {"solver", "optq"},
        {"activations", "none"}},
       ResidualBinaryDefaults(),
       "BiLLM, arXiv 2402.04291, and the published commands of Aaronhuang-778/BiLLM"},
      {"oac",
       "spqr, but an error costs what it changes in the model's own loss",
       {{"transform", "none"},
        {"sensitivity", "output_adaptive"},
        {"grid", "two_level"},
        {"solver", "optq"},
        {"activations", "none"}},
       OutputAdaptive(TwoLevelDefaults()),
       "OAC's Hessian on SpQR's grid; the paper was had in outline only: gradients at boundaries, token form and "
       "labels "
       "are ours"},
      {"oac-binary",
       "billm, but an error costs what it changes in the model's own loss",
       {{"transform", "none"},
        {"sensitivity", "output_adaptive"},
        {"grid", "residual_binary"},
        {"solver", "optq"},
        {"activations", "none"}},
       OutputAdaptive(ResidualBinaryDefaults()),
       "OAC's Hessian on BiLLM's grid; the paper was had in outline only: gradients at boundaries, token form and "
       "labels "
       "are ours"},
  };
  return *kPresets;
}

const PresetInfo* FindPreset(absl::string_view name) {
  for (const PresetInfo& preset : PresetTable()) {
    if (name == preset.name) return &preset;
  }
  return nullptr;
}

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : PresetTable()) names.emplace_back(preset.name);
  return names;
}

}  // namespace quantd
