#include "core/quant/preset_table.h"

namespace quantd {

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
