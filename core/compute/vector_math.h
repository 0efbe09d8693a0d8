// Elementwise f32 functions written so that the compiler vectorizes them on every instruction set, with one result on
// all of them: no libm calls, no contraction, fixed order of sums.
#ifndef QUANTD_CORE_COMPUTE_VECTOR_MATH_H_
#define QUANTD_CORE_COMPUTE_VECTOR_MATH_H_

#include <cstdint>

#include "absl/types/span.h"

namespace quantd {

// values[i] = exp(values[i] - maximum); returns their sum. Relative error of each below 2^-22; inputs below maximum -
// 87 give 0.
float ExpShifted(absl::Span<float> values, float maximum);

// In place: softmax of finite values; -infinity becomes 0.
void Softmax(absl::Span<float> values);

// gate[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)).
void SiluTimes(absl::Span<float> gate, absl::Span<const float> up);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_VECTOR_MATH_H_
