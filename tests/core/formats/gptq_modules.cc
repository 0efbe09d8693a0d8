#include "tests/core/formats/gptq_modules.h"

#include <algorithm>
#include <random>

#include "core/tensor/dtype.h"

namespace quantd {

std::vector<float> OwnedGptqModule::Decode() const {
  std::vector<float> values;
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t c = 0; c < shape.cols; ++c) {
      const int64_t size = shape.scheme.group_size > 0 ? shape.scheme.group_size : shape.cols;
      const int64_t group = group_index.empty() ? c / size : group_index[c];
      const int64_t at = r * shape.groups() + group;
      values.push_back(scales[at] * static_cast<float>(codes[r * shape.cols + c] - zeros[at]));
    }
  }
  return values;
}

OwnedGptqModule RandomGptqModule(const GptqModuleShape& shape, int smallest_zero, uint32_t seed) {
  std::mt19937 random(seed);
  const int levels = 1 << shape.scheme.bits;
  OwnedGptqModule module{.shape = shape, .codes = {}, .scales = {}, .zeros = {}, .group_index = {}};
  for (int64_t i = 0; i < shape.rows * shape.cols; ++i) module.codes.push_back(random() % levels);
  for (int64_t i = 0; i < shape.rows * shape.groups(); ++i) {
    const uint16_t positive_finite = static_cast<uint16_t>(random() % 0x7c00);
    module.scales.push_back(F16ToF32(positive_finite));
    const int zero = smallest_zero + static_cast<int>(random() % (levels - smallest_zero));
    module.zeros.push_back(static_cast<uint8_t>(shape.scheme.symmetric ? levels / 2 : zero));
  }
  module.scales.front() = 0;
  module.scales.back() = F16ToF32(1);
  if (shape.scheme.act_order) {
    for (int64_t c = 0; c < shape.cols; ++c) module.group_index.push_back(static_cast<int32_t>(c % shape.groups()));
    std::shuffle(module.group_index.begin(), module.group_index.end(), random);
  }
  return module;
}

}  // namespace quantd
