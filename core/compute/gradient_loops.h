// The loops of VectorKernels that only a backward pass needs; see vector_lanes.h.
#ifndef QUANTD_CORE_COMPUTE_GRADIENT_LOOPS_H_
#define QUANTD_CORE_COMPUTE_GRADIENT_LOOPS_H_

#include <cstdint>

#include "core/compute/vector_lanes.h"

namespace quantd {
namespace {

// values[i] = function(in[i], values[i]), registers filled up with zeros at the end.
template <typename Function>
inline void ForEachWith(const float* in, float* values, int64_t count, const Function& function) {
  int64_t i = 0;
  Floats x, y;
  for (; i + kWidth <= count; i += kWidth) {
    Load(in + i, x);
    Load(values + i, y);
    function(x, y);
    std::memcpy(values + i, &y, sizeof(y));
  }
  if (i == count) return;
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  x = Floats{};
  y = Floats{};
  std::memcpy(&x, in + i, bytes);
  std::memcpy(&y, values + i, bytes);
  function(x, y);
  std::memcpy(values + i, &y, bytes);
}

// With p = softmax(z): dL/dz_i = p_i (g_i - sum_j p_j g_j).
void SoftmaxGradient(const float* __restrict shares, float* __restrict gradient, int64_t count) {
  const float mean = Dot(shares, gradient, count);
  for (int64_t i = 0; i < count; ++i) gradient[i] = shares[i] * (gradient[i] - mean);
}

// With s = sigmoid(x): (x s)' = s (1 + x (1 - s)).
void SiluGradient(const float* in, float* gradient, int64_t count) {
  ForEachWith(in, gradient, count, [](const Floats& x, Floats& g) {
    Floats s = x;
    Sigmoid(s);
    g *= s * (1.0f + x * (1.0f - s));
  });
}

// With s = sigmoid(y), y = 2 sqrt(2 / pi) (x + 0.044715 x^3): (x s)' = s (1 + x (1 - s) y'). Beyond 15 the function is
// the identity or zero to f32, and its square could overflow.
void GeluTanhGradient(const float* in, float* gradient, int64_t count) {
  constexpr float kTwiceRootTwoOverPi = 1.5957691216f;
  constexpr float kEnd = 15.0f;
  ForEachWith(in, gradient, count, [](const Floats& unlimited, Floats& g) {
    Floats x = unlimited > kEnd ? Floats{} + kEnd : unlimited;
    x = x < -kEnd ? Floats{} - kEnd : x;
    const Floats square = 0.044715f * x * x;
    Floats s = kTwiceRootTwoOverPi * (x + square * x);
    Sigmoid(s);
    g *= s * (1.0f + x * (1.0f - s) * (kTwiceRootTwoOverPi * (1.0f + 3.0f * square)));
  });
}

// With s = 1 / sqrt(mean(x^2) + epsilon) and h = weight * g: dL/dx = s (h - x s^2 mean(x h)).
void RmsNormGradient(const float* __restrict in, const float* __restrict weight, double epsilon,
                     float* __restrict gradient, int64_t count) {
  const double size = static_cast<double>(count);
  const float scale = InverseRoot(WideSumOfSquares(in, count) / size + epsilon);
  for (int64_t i = 0; i < count; ++i) gradient[i] *= weight[i];
  const float share = static_cast<float>(WideDot(in, gradient, count) / size * scale * scale);
  for (int64_t i = 0; i < count; ++i) gradient[i] = scale * (gradient[i] - in[i] * share);
}

// With c = x - mean(x), s = 1 / sqrt(mean(c^2) + epsilon) and h = weight * g:
// dL/dx = s (h - mean(h) - c s^2 mean(c h)).
void LayerNormGradient(float* __restrict in, const float* __restrict weight, double epsilon, float* __restrict gradient,
                       int64_t count) {
  const double size = static_cast<double>(count);
  const float mean = static_cast<float>(WideSum(in, count) / size);
  for (int64_t i = 0; i < count; ++i) in[i] -= mean;
  const float scale = InverseRoot(WideSumOfSquares(in, count) / size + epsilon);
  for (int64_t i = 0; i < count; ++i) gradient[i] *= weight[i];
  const float common = static_cast<float>(WideSum(gradient, count) / size);
  const float share = static_cast<float>(WideDot(in, gradient, count) / size * scale * scale);
  for (int64_t i = 0; i < count; ++i) gradient[i] = scale * (gradient[i] - common - in[i] * share);
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_GRADIENT_LOOPS_H_
