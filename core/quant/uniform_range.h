// From the range of some weights to the scale and zero point of a uniform grid.
#ifndef QUANTD_CORE_QUANT_UNIFORM_RANGE_H_
#define QUANTD_CORE_QUANT_UNIFORM_RANGE_H_

#include "core/quant/uniform_grid.h"

namespace quantd {

struct ScaleAndZero {
  float scale;  // positive, representable in the storage dtype
  float zero;   // whole, 0..max_code
};

// lo <= 0 <= hi: changes them to what the levels must span.
void AdjustRange(const UniformOptions& options, float& lo, float& hi);

// Of an adjusted range, or of one shrunk by a factor.
ScaleAndZero GridOfRange(const UniformOptions& options, float lo, float hi);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNIFORM_RANGE_H_
