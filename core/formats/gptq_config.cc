#include "core/formats/gptq_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

const char* VersionName(GptqVersion version) {
  return version == GptqVersion::kV1 ? "gptq" : "gptq_v2";
}

Json SchemeJson(const GptqScheme& scheme) {
  return {{"bits", scheme.bits},
          {"group_size", scheme.group_size},
          {"sym", scheme.symmetric},
          {"desc_act", scheme.act_order}};
}

// "+:<pattern>" overrides the common scheme, "-:<pattern>" leaves a module dense.
Json DynamicJson(const GptqSettings& settings) {
  Json dynamic = Json::object();
  for (const GptqModuleShape& module : settings.modules) {
    if (module.scheme == settings.scheme) continue;
    dynamic[absl::StrCat("+:", ExactNamePattern(module.name))] = SchemeJson(module.scheme);
  }
  for (const std::string& name : settings.dense_modules) {
    dynamic[absl::StrCat("-:", ExactNamePattern(name))] = Json::object();
  }
  return dynamic;
}

}  // namespace

std::string ExactNamePattern(absl::string_view name) {
  std::string pattern = "^";
  for (const char c : name) {
    if (absl::string_view(R"(.\+*?()[]{}|^$)").find(c) != absl::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

Json GptqQuantizationConfig(const GptqSettings& settings) {
  Json config = SchemeJson(settings.scheme);
  // Each of the two names of a key is required by one loader or another.
  for (const char* key : {"quant_method", "method"}) config[key] = "gptq";
  for (const char* key : {"checkpoint_format", "format"}) config[key] = VersionName(settings.version);
  config["lm_head"] = false;
  config["pack_dtype"] = "int32";
  config["dynamic"] = DynamicJson(settings);
  config["meta"] = {{"quantizer", Json::array({settings.quantizer})},
                    {"damp_percent", settings.damp_percent},
                    {"true_sequential", settings.true_sequential},
                    {"static_groups", settings.static_groups}};
  return config;
}

Json GptqModelConfig(const Json& model_config, const GptqSettings& settings) {
  Json config = model_config;
  const char* dtype_key = config.contains("dtype") ? "dtype" : "torch_dtype";
  config[dtype_key] = "float16";
  config["quantization_config"] = GptqQuantizationConfig(settings);
  return config;
}

}  // namespace quantd
