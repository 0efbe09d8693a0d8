// The loops behind every UniformKernels table. Each table's file includes this once and the compiler vectorizes for
// that file's instruction set. All names have internal linkage on purpose: a shared inline copy with wide instructions
// could be chosen by the linker for machines that lack them.
#ifndef QUANTD_CORE_QUANT_UNIFORM_KERNEL_LOOPS_H_
#define QUANTD_CORE_QUANT_UNIFORM_KERNEL_LOOPS_H_

#include <cstdint>
#include <cstring>

#include "core/quant/uniform_kernels.h"

namespace quantd {
namespace {

constexpr int kLanes = 128;  // kSlabRows, without the header's inline functions

// NaN gives lo, so that no code is ever out of range.
inline float Clamp(float value, float lo, float hi) {
  value = value > lo ? value : lo;
  return value > hi ? hi : value;
}

// Half to even: adding 1.5 * 2^23 leaves no fraction bits. Right for |value| < 2^22.
inline float RoundHalfToEven(float value) {
  constexpr float kShift = 12582912.0f;
  return (value + kShift) - kShift;
}

// Codes are below 2^8, so that a quotient beyond +-512 is clamped whatever its value.
inline float CodeOf(float value, float scale, float zero, float max_code) {
  return Clamp(RoundHalfToEven(Clamp(value / scale, -512.0f, 512.0f)) + zero, 0.0f, max_code);
}

// magnitude^2.4 = a * a^(1/5) with a = magnitude^2. The inverse fifth root starts within 4 % from the exponent bits,
// and each step of Newton's r (6 - a r^5) / 5 turns a relative error e into 3 e^2: three steps in f32 reach its
// rounding, one in f64 leaves about 1e-12. Candidate ranges differ by little, so that f32 alone would choose among near
// ties by its own rounding.
inline double PowerTwoPointFour(float magnitude) {
  const float a = magnitude * magnitude;
  int32_t bits;
  std::memcpy(&bits, &a, sizeof(bits));
  // log2 is nearly linear in the bits: 1.2 * bits(1.0f), less the offset that centres the guess, minus a fifth of
  // bits(a).
  bits = 0x4c2c4994 - static_cast<int32_t>(static_cast<float>(bits) * 0.2f);
  float guess;
  std::memcpy(&guess, &bits, sizeof(guess));
  for (int step = 0; step < 3; ++step) {
    const float square = guess * guess;
    guess = guess * (1.2f - 0.2f * (a * guess) * (square * square));
  }
  const double exact = static_cast<double>(magnitude) * static_cast<double>(magnitude);
  const double root = static_cast<double>(guess);
  const double fourth = (root * root) * (root * root);
  const double better = root * (1.2 - 0.2 * (exact * root) * fourth);
  return exact * (exact * (better * better) * (better * better));
}

void WidenRange(const float* __restrict values, float* __restrict lo, float* __restrict hi) {
  for (int i = 0; i < kLanes; ++i) {
    lo[i] = values[i] < lo[i] ? values[i] : lo[i];
    hi[i] = values[i] > hi[i] ? values[i] : hi[i];
  }
}

void RoundToGrid(const float* values, const float* __restrict scales, const float* __restrict zeros, float max_code,
                 float* nearest, uint16_t* __restrict codes) {
  float rounded[kLanes];
  for (int i = 0; i < kLanes; ++i) rounded[i] = CodeOf(values[i], scales[i], zeros[i], max_code);
  for (int i = 0; i < kLanes; ++i) nearest[i] = scales[i] * (rounded[i] - zeros[i]);
  for (int i = 0; i < kLanes; ++i) codes[i] = static_cast<uint16_t>(static_cast<int32_t>(rounded[i]));
}

void AddClipErrors(const float* __restrict values, const float* __restrict scales, const float* __restrict zeros,
                   float max_code, double* __restrict errors) {
  float differences[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    differences[i] = scales[i] * (CodeOf(values[i], scales[i], zeros[i], max_code) - zeros[i]) - values[i];
  }
  for (int i = 0; i < kLanes; ++i) errors[i] += PowerTwoPointFour(differences[i]);
}

void DivideDifference(const float* __restrict values, const float* __restrict nearest, float divisor,
                      float* __restrict errors) {
  for (int i = 0; i < kLanes; ++i) errors[i] = (values[i] - nearest[i]) / divisor;
}

void AddSquares(const float* __restrict errors, double* __restrict sums) {
  for (int i = 0; i < kLanes; ++i) sums[i] += static_cast<double>(errors[i]) * static_cast<double>(errors[i]);
}

void SubtractScaled(const float* __restrict errors, float factor, float* __restrict values) {
  for (int i = 0; i < kLanes; ++i) values[i] -= factor * errors[i];
}

constexpr UniformKernels TableFor(Isa isa) {
  return {isa, &WidenRange, &RoundToGrid, &AddClipErrors, &DivideDifference, &AddSquares, &SubtractScaled};
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNIFORM_KERNEL_LOOPS_H_
