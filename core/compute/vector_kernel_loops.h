// The loops behind every VectorKernels table, those of the backward pass apart (gradient_loops.h). Each table's file
// includes this once and is compiled for its instruction set; see vector_lanes.h.
#ifndef QUANTD_CORE_COMPUTE_VECTOR_KERNEL_LOOPS_H_
#define QUANTD_CORE_COMPUTE_VECTOR_KERNEL_LOOPS_H_

#include <cstdint>

#include "core/compute/gradient_loops.h"
#include "core/compute/vector_kernels.h"
#include "core/compute/vector_lanes.h"

namespace quantd {
namespace {

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

void RmsNorm(const float* in, const float* __restrict weight, double epsilon, float* out, int64_t count) {
  const float scale = InverseRoot(WideSumOfSquares(in, count) / static_cast<double>(count) + epsilon);
  for (int64_t i = 0; i < count; ++i) out[i] = in[i] * scale * weight[i];
}

void LayerNorm(const float* in, const float* __restrict weight, const float* __restrict bias, double epsilon,
               float* out, int64_t count) {
  const double size = static_cast<double>(count);
  const float mean = static_cast<float>(WideSum(in, count) / size);
  for (int64_t i = 0; i < count; ++i) out[i] = in[i] - mean;
  const float scale = InverseRoot(WideSumOfSquares(out, count) / size + epsilon);
  for (int64_t i = 0; i < count; ++i) out[i] = out[i] * scale * weight[i] + bias[i];
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

// One row after the other, so that the matrix is one stream to the prefetcher.
void DotRows(const float* matrix, int64_t stride, const float* x, float* out, int64_t rows, int64_t count) {
  for (int64_t r = 0; r < rows; ++r) out[r] = Dot(matrix + r * stride, x, count);
}

// f32 with the bits of bf16 above.
struct WidenBf16 {
  static void Widen(const HalfInts& from, Floats& to) {
    const Words words = __builtin_convertvector(from, Words) << 16;
    std::memcpy(&to, &words, sizeof(to));
  }
};

// Exponent and mantissa moved to their place in f32 count 2^-112 times their value; also when denormal, since the
// product is exact. Infinities and NaN do not come here.
struct WidenF16 {
  static void Widen(const HalfInts& from, Floats& to) {
    const Words words = __builtin_convertvector(from, Words);
    const Words magnitude = (words & 0x7fff) << 13;
    std::memcpy(&to, &magnitude, sizeof(to));
    to *= 0x1p112f;
    Words bits;
    std::memcpy(&bits, &to, sizeof(bits));
    bits |= (words & 0x8000) << 16;
    std::memcpy(&to, &bits, sizeof(to));
  }
};

// Dot of a widened row and x, in the order of Dot.
template <typename Format>
float DotHalf(const uint16_t* __restrict a, const float* __restrict b, int64_t count) {
  constexpr int kParts = kLanes / kWidth;
  Floats sums[kParts] = {};
  const auto add = [&sums](const uint16_t* from, const float* with) {
    for (int part = 0; part < kParts; ++part) {
      HalfInts halves;
      Floats x, y;
      std::memcpy(&halves, from + part * kWidth, sizeof(halves));
      Format::Widen(halves, x);
      Load(with + part * kWidth, y);
      sums[part] += x * y;
    }
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) add(a + i, b + i);
  if (i < count) {
    uint16_t rest_a[kLanes] = {};
    float rest_b[kLanes] = {};
    std::memcpy(rest_a, a + i, static_cast<size_t>(count - i) * sizeof(uint16_t));
    std::memcpy(rest_b, b + i, static_cast<size_t>(count - i) * sizeof(float));
    add(rest_a, rest_b);
  }
  float lanes[kLanes];
  std::memcpy(lanes, sums, sizeof(lanes));
  return FoldLanes(lanes);
}

template <typename Format>
void DotHalfRows(const uint16_t* matrix, int64_t stride, const float* x, float* out, int64_t rows, int64_t count) {
  for (int64_t r = 0; r < rows; ++r) out[r] = DotHalf<Format>(matrix + r * stride, x, count);
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
  return {isa,
          &Softmax,
          &Silu,
          &GeluTanh,
          &RmsNorm,
          &LayerNorm,
          &Rotate,
          &Add,
          &Multiply,
          &DotRows,
          &DotHalfRows<WidenBf16>,
          &DotHalfRows<WidenF16>,
          &CombineRows,
          &SoftmaxGradient,
          &SiluGradient,
          &GeluTanhGradient,
          &RmsNormGradient,
          &LayerNormGradient};
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_VECTOR_KERNEL_LOOPS_H_
