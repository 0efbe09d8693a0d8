// Quantizing a tile of scales, or of zero points, again (SpQR).
#ifndef QUANTD_CORE_QUANT_SECOND_LEVEL_H_
#define QUANTD_CORE_QUANT_SECOND_LEVEL_H_

#include <cstdint>

#include "absl/types/span.h"
#include "core/tensor/dtype.h"

namespace quantd {

// The levels of one tile. Equal values have step 0 and come back as the offset, so that they are exact.
struct SecondLevel {
  float step = 0;    // at least 0
  float offset = 0;  // of the value 0, in steps; or the value itself

  float Value(uint8_t code) const { return step == 0 ? offset : step * (static_cast<float>(code) - offset); }
  uint8_t Code(float value, int bits) const;
};

struct SecondLevelOptions {
  int bits = 3;
  Dtype dtype = Dtype::kF16;  // step and offset are rounded to it
  // Equal values get the range [-1, 1] as in the released code, and decode to an unrelated number.
  bool authors_equal_values = false;
};

// From the least to the greatest of `values`, which are finite. The step may be infinite when `dtype` cannot span them.
SecondLevel FitSecondLevel(absl::Span<const float> values, const SecondLevelOptions& options);

// `value` as `dtype` (F16 or F32) keeps it.
float AsStored(float value, Dtype dtype);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_SECOND_LEVEL_H_
