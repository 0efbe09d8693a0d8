// Inner loops of the uniform grid and of the column sweep, over one column of one slab: kSlabRows values each.
//
// One table per instruction set; the scalar one is the definition, and because every operation is a single IEEE one (no
// fused multiply-add) the others give the same bits.
#ifndef QUANTD_CORE_QUANT_UNIFORM_KERNELS_H_
#define QUANTD_CORE_QUANT_UNIFORM_KERNELS_H_

#include <cstdint>

#include "core/compute/execution_context.h"

namespace quantd {

struct UniformKernels {
  Isa isa;
  // lo = min(lo, values), hi = max(hi, values).
  void (*widen_range)(const float* values, float* lo, float* hi);
  // code = clamp(round(value / scale) + zero, 0, max_code), nearest = scale * (code - zero); round half to even.
  // `nearest` may be `values`. Scales are positive, zeros whole numbers in 0..max_code, values finite.
  void (*round_to_grid)(const float* values, const float* scales, const float* zeros, float max_code, float* nearest,
                        uint16_t* codes);
  // errors += |nearest - value|^2.4 of the same rounding; less for differences below 2^-63, whose squares vanish in
  // f32.
  void (*add_clip_errors)(const float* values, const float* scales, const float* zeros, float max_code, double* errors);
  // errors = (values - nearest) / divisor.
  void (*divide_difference)(const float* values, const float* nearest, float divisor, float* errors);
  // sums += errors^2.
  void (*add_squares)(const float* errors, double* sums);
  // values -= factor * errors.
  void (*subtract_scaled)(const float* errors, float factor, float* values);
};

// The best table not above `at_most`.
const UniformKernels& UniformKernelsFor(Isa at_most);

const UniformKernels& ScalarUniformKernels();
const UniformKernels& Avx2UniformKernels();
const UniformKernels& Avx512UniformKernels();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNIFORM_KERNELS_H_
