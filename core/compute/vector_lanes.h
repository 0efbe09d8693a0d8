// What the loops behind VectorKernels are made of: registers and sums over a fixed number of lanes. For the loops'
// headers only, which each table's file includes once and compiles for its instruction set. All names have internal
// linkage on purpose: a shared inline copy with wide instructions could be chosen by the linker for machines that lack
// them.
#ifndef QUANTD_CORE_COMPUTE_VECTOR_LANES_H_
#define QUANTD_CORE_COMPUTE_VECTOR_LANES_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace quantd {
namespace {

// Sums go over so many lanes whatever the register width, so that their order is the same.
constexpr int64_t kLanes = 32;

// What one register holds. Never a function argument by value: how one is passed depends on the instruction set.
#if defined(__AVX512F__)
constexpr int64_t kWidth = 16;
#elif defined(__AVX2__)
constexpr int64_t kWidth = 8;
#else
constexpr int64_t kWidth = 4;
#endif
using Floats = float __attribute__((vector_size(kWidth * sizeof(float))));
using Doubles = double __attribute__((vector_size(kWidth * sizeof(double))));
using Ints = int32_t __attribute__((vector_size(kWidth * sizeof(int32_t))));
using Words = uint32_t __attribute__((vector_size(kWidth * sizeof(uint32_t))));
using HalfInts = uint16_t __attribute__((vector_size(kWidth * sizeof(uint16_t))));

template <typename Vector>
inline void Load(const float* from, Vector& lanes) {
  std::memcpy(&lanes, from, sizeof(lanes));
}

// function(x) in place on a register of values after the other; the last one is filled up with zeros.
template <typename Function>
inline void ForEach(float* values, int64_t count, const Function& function) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    Floats x;
    Load(values + i, x);
    function(x);
    std::memcpy(values + i, &x, sizeof(x));
  }
  if (i == count) return;
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  Floats x = {};
  std::memcpy(&x, values + i, bytes);
  function(x);
  std::memcpy(values + i, &x, bytes);
}

// x = exp(x) for x in [-87, 88]: x = n ln 2 + r with |r| <= ln 2 / 2, a degree-7 Taylor polynomial in r, exponent bits
// for 2^n. Truncation error below r^8 / 8! = 6e-9 relative: rounding dominates.
inline void ExpInRange(Floats& x) {
  const Floats n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // round to nearest: 1.5 * 2^23
  const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;   // ln 2 in two parts (Cody and Waite)
  Floats p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Ints bits = (__builtin_convertvector(n, Ints) + 127) << 23;
  Floats power;
  std::memcpy(&power, &bits, sizeof(power));
  x = p * power;
}

// x = 1 / (1 + exp(-x)). Above 87 it is 1 to f32; below -87 it is a denormal and becomes 0, so that x times it vanishes
// for the largest x too.
inline void Sigmoid(Floats& x) {
  constexpr float kLimit = 87.0f;
  Floats e = -x;
  e = e < -kLimit ? Floats{} - kLimit : e;
  e = e > kLimit ? Floats{} + kLimit : e;
  ExpInRange(e);
  x = x < -kLimit ? Floats{} : 1.0f / (1.0f + e);
}

// Adds halves until one lane is left.
template <typename Number>
inline Number FoldLanes(Number* lanes) {
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// sum of term(i-th values of a, of b) over kLanes lanes in registers of `Vector`; what is left over is filled up with
// zeros, whose term must be zero.
template <typename Vector, typename Term>
inline auto SumOf(const float* a, const float* b, int64_t count, const Term& term) {
  constexpr int kParts = kLanes / kWidth;
  Vector sums[kParts] = {};
  Floats x, y;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int part = 0; part < kParts; ++part) {
      Load(a + i + part * kWidth, x);
      Load(b + i + part * kWidth, y);
      term(x, y, sums[part]);
    }
  }
  if (i < count) {
    float rest_a[kLanes] = {}, rest_b[kLanes] = {};
    std::memcpy(rest_a, a + i, static_cast<size_t>(count - i) * sizeof(float));
    std::memcpy(rest_b, b + i, static_cast<size_t>(count - i) * sizeof(float));
    for (int part = 0; part < kParts; ++part) {
      Load(rest_a + part * kWidth, x);
      Load(rest_b + part * kWidth, y);
      term(x, y, sums[part]);
    }
  }
  std::remove_reference_t<decltype(sums[0][0])> lanes[kLanes];
  std::memcpy(lanes, sums, sizeof(lanes));
  return FoldLanes(lanes);
}

inline float Sum(const float* values, int64_t count) {
  return SumOf<Floats>(values, values, count, [](const Floats& x, const Floats&, Floats& sum) { sum += x; });
}

inline float Dot(const float* a, const float* b, int64_t count) {
  return SumOf<Floats>(a, b, count, [](const Floats& x, const Floats& y, Floats& sum) { sum += x * y; });
}

// Sums of values and of their squares in f64.
inline double WideSum(const float* values, int64_t count) {
  return SumOf<Doubles>(values, values, count, [](const Floats& x, const Floats&, Doubles& sum) {
    sum += __builtin_convertvector(x, Doubles);
  });
}

inline double WideSumOfSquares(const float* values, int64_t count) {
  return SumOf<Doubles>(values, values, count, [](const Floats& x, const Floats&, Doubles& sum) {
    const Doubles wide = __builtin_convertvector(x, Doubles);
    sum += wide * wide;
  });
}

inline double WideDot(const float* a, const float* b, int64_t count) {
  return SumOf<Doubles>(a, b, count, [](const Floats& x, const Floats& y, Doubles& sum) {
    sum += __builtin_convertvector(x, Doubles) * __builtin_convertvector(y, Doubles);
  });
}

inline float InverseRoot(double x) {
  return static_cast<float>(1.0 / __builtin_sqrt(x));
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_VECTOR_LANES_H_
