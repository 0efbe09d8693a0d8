// The JSON that tells loaders how to read a GPTQ checkpoint: docs/formats/gptq.md, section "Configuration".
#ifndef QUANTD_CORE_FORMATS_GPTQ_CONFIG_H_
#define QUANTD_CORE_FORMATS_GPTQ_CONFIG_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/json.h"
#include "core/formats/gptq_checkpoint.h"

namespace quantd {

struct GptqSettings {
  GptqScheme scheme;  // of every module that does not say otherwise
  GptqVersion version = GptqVersion::kV1;
  std::vector<GptqModuleShape> modules;    // those with another scheme get an override
  std::vector<std::string> dense_modules;  // linear modules left dense, without the head
  // How the codes were found; for information only.
  std::string quantizer;       // "quantd:0.1.0"
  double damp_percent = 0.01;  // 0 < x < 1
  bool true_sequential = true;
  bool static_groups = false;
};

// The object "quantization_config" of config.json, which is also the whole of quantize_config.json.
Json GptqQuantizationConfig(const GptqSettings& settings);

// `model_config` with quantization_config added and its dtype hint set to float16, so that loaders keep the scales as
// they are stored.
Json GptqModelConfig(const Json& model_config, const GptqSettings& settings);

// A regular expression that matches exactly `name`.
std::string ExactNamePattern(absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_GPTQ_CONFIG_H_
