// The uniform grid: 2^bits evenly spaced levels that include 0, for each row and group of inputs.
//
//   lo = min(0, w), hi = max(0, w)                       (an all-zero group gets [-1, 1])
//   symmetric:  a = max(-lo, hi), lo = -a, hi = a, zero = 2^(bits-1)
//   scale = (hi - lo) / (2^bits - 1), rounded to its storage dtype; then zero = round(-lo / scale)
//   code = clamp(round(w / scale) + zero, 0, 2^bits - 1);  value = scale * (code - zero)
#ifndef QUANTD_CORE_QUANT_UNIFORM_GRID_H_
#define QUANTD_CORE_QUANT_UNIFORM_GRID_H_

#include <memory>

#include "core/quant/grid.h"
#include "core/tensor/dtype.h"

namespace quantd {

struct UniformOptions {
  int bits = 4;
  int64_t group_size = -1;  // inputs of a group; -1: the whole row
  bool symmetric = false;
  bool authors_range = false;  // symmetric groups without negative weights keep lo = 0, as in the released GPTQ code
  bool clip_search = false;    // shrink the range to the least sum of |error|^2.4
  bool per_row = true;         // false: all rows share a group's scale
  Dtype scale_dtype = Dtype::kF16;  // F16 or F32

  int max_code() const { return (1 << bits) - 1; }
};

UniformOptions UniformOptionsOf(const Parameters& parameters);
std::unique_ptr<Grid> MakeUniformGrid(const Parameters& parameters);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNIFORM_GRID_H_
