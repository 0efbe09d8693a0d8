// The loops behind every VectorKernels table. Each table's file includes this once and is compiled for its instruction
// set. All names have internal linkage on purpose: a shared inline copy with wide instructions could be chosen by the
// linker for machines that lack them.
#ifndef QUANTD_CORE_COMPUTE_VECTOR_KERNEL_LOOPS_H_
#define QUANTD_CORE_COMPUTE_VECTOR_KERNEL_LOOPS_H_

#include <cstdint>
#include <cstring>

#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

// Sums go over so many lanes whatever the register width, so that their order is the same.
constexpr int64_t kLanes = 16;
// Arithmetic on all lanes at once; the compiler takes as many registers as the instruction set needs. Never a function
// argument: how one is passed depends on the instruction set.
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using HalfLanes = float __attribute__((vector_size(kLanes / 2 * sizeof(float))));
using WideLanes = double __attribute__((vector_size(kLanes / 2 * sizeof(double))));

// One register, for what has no order.
#if defined(__AVX512F__)
constexpr int64_t kWidth = 16;
#elif defined(__AVX2__)
constexpr int64_t kWidth = 8;
#else
constexpr int64_t kWidth = 4;
#endif
using Floats = float __attribute__((vector_size(kWidth * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kWidth * sizeof(int32_t))));

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

// x = 1 / (1 + exp(-x)). Beyond +-87 it is 0 or 1 to f32 anyway.
inline void Sigmoid(Floats& x) {
  constexpr float kLimit = 87.0f;
  Floats e = -x;
  e = e < -kLimit ? Floats{} - kLimit : e;
  e = e > kLimit ? Floats{} + kLimit : e;
  ExpInRange(e);
  x = 1.0f / (1.0f + e);
}

// Halves are added until one lane is left.
inline float LaneSum(const Lanes& lanes) {
  float parts[kLanes];
  std::memcpy(parts, &lanes, sizeof(parts));
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) parts[lane] += parts[lane + half];
  }
  return parts[0];
}

float Maximum(const float* values, int64_t count) {
  float best = values[0];
  int64_t i = 0;
  if (count >= kWidth) {
    Floats bests, next;
    for (Load(values, bests); i + kWidth <= count; i += kWidth) {
      Load(values + i, next);
      bests = next > bests ? next : bests;
    }
    for (int64_t lane = 0; lane < kWidth; ++lane) best = bests[lane] > best ? bests[lane] : best;
  }
  for (; i < count; ++i) best = values[i] > best ? values[i] : best;
  return best;
}

float Sum(const float* values, int64_t count) {
  Lanes lanes = {}, next;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Load(values + i, next);
    lanes += next;
  }
  float sum = LaneSum(lanes);
  for (; i < count; ++i) sum += values[i];
  return sum;
}

void Softmax(float* values, int64_t count) {
  constexpr float kLowest = -87.0f;
  const float maximum = Maximum(values, count);
  ForEach(values, count, [maximum](Floats& x) {
    x -= maximum;
    Floats e = x < kLowest ? Floats{} + kLowest : x;
    ExpInRange(e);
    x = x < kLowest ? Floats{} : e;
  });
  const float inverse = 1.0f / Sum(values, count);
  for (int64_t i = 0; i < count; ++i) values[i] *= inverse;
}

void Silu(float* values, int64_t count) {
  ForEach(values, count, [](Floats& x) {
    Floats share = x;
    Sigmoid(share);
    x *= share;
  });
}

// (1 + tanh(y)) / 2 = sigmoid(2 y).
void GeluTanh(float* values, int64_t count) {
  constexpr float kTwiceRootTwoOverPi = 1.5957691216f;
  ForEach(values, count, [](Floats& x) {
    Floats share = kTwiceRootTwoOverPi * (x + 0.044715f * x * x * x);
    Sigmoid(share);
    x *= share;
  });
}

// sum of (values - shift)^power for power 1 or 2, in f64.
template <int power>
double SumShifted(const float* values, double shift, int64_t count) {
  constexpr int64_t kStep = kLanes / 2;
  const WideLanes shifts = shift - WideLanes{};
  WideLanes lanes = {};
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    HalfLanes narrow;
    Load(values + i, narrow);
    const WideLanes difference = __builtin_convertvector(narrow, WideLanes) - shifts;
    lanes += power == 1 ? difference : difference * difference;
  }
  double sum = 0;
  for (; i < count; ++i) {
    const double difference = static_cast<double>(values[i]) - shift;
    sum += power == 1 ? difference : difference * difference;
  }
  for (int64_t lane = 0; lane < kStep; ++lane) sum += lanes[lane];
  return sum;
}

float InverseRoot(double x) {
  return static_cast<float>(1.0 / __builtin_sqrt(x));
}

void RmsNorm(const float* in, const float* __restrict weight, double epsilon, float* out, int64_t count) {
  const float scale = InverseRoot(SumShifted<2>(in, 0, count) / static_cast<double>(count) + epsilon);
  for (int64_t i = 0; i < count; ++i) out[i] = in[i] * scale * weight[i];
}

void LayerNorm(const float* in, const float* __restrict weight, const float* __restrict bias, double epsilon,
               float* out, int64_t count) {
  const double mean = SumShifted<1>(in, 0, count) / static_cast<double>(count);
  const float scale = InverseRoot(SumShifted<2>(in, mean, count) / static_cast<double>(count) + epsilon);
  const float shift = static_cast<float>(mean);
  for (int64_t i = 0; i < count; ++i) out[i] = (in[i] - shift) * scale * weight[i] + bias[i];
}

void Rotate(float* __restrict low, float* __restrict high, const float* __restrict cosine, const float* __restrict sine,
            int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float a = low[i], b = high[i];
    low[i] = a * cosine[i] - b * sine[i];
    high[i] = b * cosine[i] + a * sine[i];
  }
}

void Add(const float* __restrict from, float* __restrict into, int64_t count) {
  for (int64_t i = 0; i < count; ++i) into[i] += from[i];
}

void Multiply(const float* __restrict from, float* __restrict into, int64_t count) {
  for (int64_t i = 0; i < count; ++i) into[i] *= from[i];
}

// One row after the other, so that the matrix is one stream to the prefetcher; four sums hide the latency of adding.
float Dot(const float* a, const float* b, int64_t count) {
  constexpr int kSums = 4;
  Lanes sums[kSums] = {};
  Lanes x, y;
  int64_t i = 0;
  for (; i + kSums * kLanes <= count; i += kSums * kLanes) {
    for (int s = 0; s < kSums; ++s) {
      Load(a + i + s * kLanes, x);
      Load(b + i + s * kLanes, y);
      sums[s] += x * y;
    }
  }
  for (; i + kLanes <= count; i += kLanes) {
    Load(a + i, x);
    Load(b + i, y);
    sums[0] += x * y;
  }
  const Lanes lanes = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float sum = LaneSum(lanes);
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void DotRows(const float* matrix, int64_t stride, const float* x, float* out, int64_t rows, int64_t count) {
  for (int64_t r = 0; r < rows; ++r) out[r] = Dot(matrix + r * stride, x, count);
}

void CombineRows(const float* __restrict matrix, int64_t stride, const float* __restrict weights, float* __restrict out,
                 int64_t rows, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const float weight = weights[r];
    for (int64_t i = 0; i < count; ++i) out[i] += weight * matrix[r * stride + i];
  }
}

constexpr VectorKernels TableFor(Isa isa) {
  return {isa, &Softmax, &Silu, &GeluTanh, &RmsNorm, &LayerNorm, &Rotate, &Add, &Multiply, &DotRows, &CombineRows};
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_VECTOR_KERNEL_LOOPS_H_
