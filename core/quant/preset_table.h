// Named recipes: the five choices and what differs from the parameters' own defaults.
#ifndef QUANTD_CORE_QUANT_PRESET_TABLE_H_
#define QUANTD_CORE_QUANT_PRESET_TABLE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

struct PresetInfo {
  using Setting = std::pair<const char*, const char*>;  // parameter, value as it would be typed after "--set"

  const char* name;
  const char* summary;
  std::vector<Setting> parts;
  std::vector<Setting> defaults;
  const char* provenance;
};

const std::vector<PresetInfo>& PresetTable();
const PresetInfo* FindPreset(absl::string_view name);  // nullptr when unknown
std::vector<std::string> PresetNames();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_PRESET_TABLE_H_
