// What a GPTQ folder says about itself. Internal to gptq_reader.cc.
#ifndef QUANTD_CORE_FORMATS_GPTQ_READER_CONFIG_H_
#define QUANTD_CORE_FORMATS_GPTQ_READER_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace quantd {

struct GptqReaderScheme {
  int64_t bits = 0;
  int64_t group_size = 0;
  bool act_order = false;
  bool dense = false;  // not quantized at all
};

struct GptqReaderConfig {
  GptqReaderScheme common;
  bool zeros_minus_one = true;
  std::map<std::string, GptqReaderScheme> exceptions;  // by module name

  const GptqReaderScheme& SchemeOf(const std::string& module) const {
    const auto it = exceptions.find(module);
    return it == exceptions.end() ? common : it->second;
  }
};

// quantization_config of config.json, else quantize_config.json. Of the patterns in "dynamic" only those that spell one
// name are read; an expression that could match several is refused, never executed. Reason: GPTQ_CONFIG_INVALID.
absl::StatusOr<GptqReaderConfig> ReadGptqConfig(const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_GPTQ_READER_CONFIG_H_
