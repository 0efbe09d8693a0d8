// Random modules on a GPTQ grid, for tests.
#ifndef QUANTD_TESTS_CORE_FORMATS_GPTQ_MODULES_H_
#define QUANTD_TESTS_CORE_FORMATS_GPTQ_MODULES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "core/formats/gptq_checkpoint.h"

namespace quantd {

// Owns what a GptqModule points to.
struct OwnedGptqModule {
  GptqModuleShape shape;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
  std::vector<int32_t> group_index;

  GptqModule View() const { return {shape, codes, scales, zeros, group_index}; }
  // From the definition: scale * (code - zero), [rows, cols].
  std::vector<float> Decode() const;
};

// Codes cover the whole range; zeros are smallest_zero.. 2^bits-1, or all 2^(bits-1) when symmetric; scales are exact
// in f16, one of them 0 and one of them subnormal. Act-order gives a shuffled group index.
OwnedGptqModule RandomGptqModule(const GptqModuleShape& shape, int smallest_zero, uint32_t seed);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_FORMATS_GPTQ_MODULES_H_
