// Inner loops of forward and backward passes, each over one row, one table per instruction set.
//
// The scalar table is the definition. Loops avoid libm, fused multiply-add and orders of summation that depend on the
// register width (sums go over 32 lanes, then over the lanes), so that all tables give the same bits.
#ifndef QUANTD_CORE_COMPUTE_VECTOR_KERNELS_H_
#define QUANTD_CORE_COMPUTE_VECTOR_KERNELS_H_

#include <cstdint>

#include "core/compute/execution_context.h"

namespace quantd {

struct VectorKernels {
  Isa isa;
  // values = exp(values - max(values)) / their sum. At least one value, none NaN, one finite; differences below -87
  // give 0. Relative error of a result below (|value - max| + count / 32 + 32) 2^-24.
  void (*softmax)(float* values, int64_t count);
  // x / (1 + exp(-x)), in place; 0 below -87.
  void (*silu)(float* values, int64_t count);
  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), in place; 0 where the argument of tanh is below -43.5.
  void (*gelu_tanh)(float* values, int64_t count);
  // out = in / sqrt(mean(in^2) + epsilon) * weight. Sums in f64. `out` may be `in`; so below.
  void (*rms_norm)(const float* in, const float* weight, double epsilon, float* out, int64_t count);
  // out = (in - mean) / sqrt(variance + epsilon) * weight + bias. Mean and variance in f64.
  void (*layer_norm)(const float* in, const float* weight, const float* bias, double epsilon, float* out,
                     int64_t count);
  // Turns the pairs (low[i], high[i]): low cos - high sin, high cos + low sin.
  void (*rotate)(float* low, float* high, const float* cosine, const float* sine, int64_t count);
  // into += from;  into *= from.
  void (*add)(const float* from, float* into, int64_t count);
  void (*multiply)(const float* from, float* into, int64_t count);
  // out[r] = row r of `matrix` (rows `stride` apart) * x, for `rows` rows of `count` elements.
  void (*dot_rows)(const float* matrix, int64_t stride, const float* x, float* out, int64_t rows, int64_t count);
  // The same with rows in bf16, or in IEEE half (finite): the bits of dot_rows with the widened matrix.
  void (*dot_rows_bf16)(const uint16_t* matrix, int64_t stride, const float* x, float* out, int64_t rows,
                        int64_t count);
  void (*dot_rows_f16)(const uint16_t* matrix, int64_t stride, const float* x, float* out, int64_t rows, int64_t count);
  // out = sum over r of weights[r] * row r of `matrix`.
  void (*combine_rows)(const float* matrix, int64_t stride, const float* weights, float* out, int64_t rows,
                       int64_t count);

  // The backward pass: `gradient` is dL/d(result of the function above) and becomes dL/d(its argument).
  // `shares`: what softmax gave.
  void (*softmax_gradient)(const float* shares, float* gradient, int64_t count);
  // `in`: what the function was given.
  void (*silu_gradient)(const float* in, float* gradient, int64_t count);
  void (*gelu_tanh_gradient)(const float* in, float* gradient, int64_t count);
  // Means in f64.
  void (*rms_norm_gradient)(const float* in, const float* weight, double epsilon, float* gradient, int64_t count);
  // `in` is left with its mean taken away.
  void (*layer_norm_gradient)(float* in, const float* weight, double epsilon, float* gradient, int64_t count);
};

// The table of `isa`, which CPU and operating system must support: ExecutionContext::isa() is such a one.
const VectorKernels& VectorKernelsFor(Isa isa);

const VectorKernels& ScalarVectorKernels();
const VectorKernels& Avx2VectorKernels();
const VectorKernels& Avx512VectorKernels();

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_VECTOR_KERNELS_H_
