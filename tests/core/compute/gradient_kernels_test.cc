// The scalar gradient kernels against central differences in f64 of the functions that they belong to. The other
// tables: vector_kernel_tables_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

#include "core/compute/vector_kernels.h"
#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr int64_t kSizes[] = {1, 2, 3, 15, 16, 17, 31, 33, 64, 65, 100, 257};
// Bounds are sums of first-order terms; what products of two roundings add.
constexpr double kSecondOrder = 1 + 1e-4;
constexpr double kExpUnits = 4;  // as in vector_kernels_test.cc

Floats RandomFloats(int64_t count, uint64_t seed, float magnitude = 1, float shift = 0) {
  const Matrix matrix = RandomMatrix(1, count, seed, magnitude);
  Floats values(matrix.data(), matrix.data() + count);
  for (float& value : values) value += shift;
  return values;
}

double Sum(int64_t count, const std::function<double(int64_t)>& term) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += term(i);
  return sum;
}

// d/dx_i of sum over j of gradient_j function(x)_j, by differences over four steps. What is cut off is step^4 / 30 of
// the fifth derivative, below 1e-11 for steps of a thousandth of what the functions here vary over; rounding costs
// 1e-16 / step for each j that feels x_i.
using Function = std::function<Doubles(const Doubles& x)>;
double Difference(const Function& function, const Floats& in, const Floats& gradient, int64_t i, double step) {
  const auto at = [&](double distance) {
    Doubles x(in.begin(), in.end());
    x[i] += distance;
    return function(x);
  };
  const Doubles near_up = at(step), near_down = at(-step), far_up = at(2 * step), far_down = at(-2 * step);
  return Sum(static_cast<int64_t>(in.size()), [&](int64_t j) {
    return gradient[j] * (8 * (near_up[j] - near_down[j]) - (far_up[j] - far_down[j])) / (12 * step);
  });
}
constexpr double kDifferenceError = 1e-10;

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

Function Each(double (*function)(double)) {
  return [function](const Doubles& x) {
    Doubles out;
    for (double value : x) out.push_back(function(value));
    return out;
  };
}

class GradientKernelsTest : public testing::TestWithParam<int64_t> {
 protected:
  const int64_t count_ = GetParam();
  const VectorKernels& scalar_ = ScalarVectorKernels();
  const Floats gradient_ = RandomFloats(count_, 21);
};

// s (1 + a) with a = x (1 - s): s is off by kExpUnits + 2 units, which 1 - s feels as s times that; then four
// roundings.
TEST_P(GradientKernelsTest, SiluIsTheDifferenceQuotient) {
  WorstShare share;
  for (float magnitude : {1e-3f, 1.0f, 20.0f}) {
    const Floats in = RandomFloats(count_, 22, magnitude);
    Floats got = gradient_;
    scalar_.silu_gradient(in.data(), got.data(), count_);
    for (int64_t i = 0; i < count_; ++i) {
      const double exact = Difference(Each([](double x) { return x * Sigmoid(x); }), in, gradient_, i, 1e-3);
      const double x = in[i], s = Sigmoid(x), units = kExpUnits + 2;
      const double inner = std::abs(x) * (s * units + 3 * (1 - s)) + 1;
      const double bound = s * (inner + std::abs(1 + x * (1 - s)) * (units + 2)) * std::abs(gradient_[i]);
      share.Check(got[i], exact, bound * kUnit * kSecondOrder + kDifferenceError);
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.05) << share.worst();
}

// As above with y' beside x: y has eight roundings, of which s feels |y| (1 - s); y' has six.
TEST_P(GradientKernelsTest, GeluIsTheDifferenceQuotient) {
  static constexpr double kCubic = 0.044715;
  static const double kTwice = 2 * std::sqrt(2 / std::numbers::pi);
  WorstShare share;
  for (float magnitude : {1e-3f, 1.0f, 6.0f}) {
    const Floats in = RandomFloats(count_, 23, magnitude);
    Floats got = gradient_;
    scalar_.gelu_tanh_gradient(in.data(), got.data(), count_);
    for (int64_t i = 0; i < count_; ++i) {
      const auto gelu = [](double x) { return x * Sigmoid(kTwice * (x + kCubic * x * x * x)); };
      const double exact = Difference(Each(gelu), in, gradient_, i, 1e-3);
      const double x = in[i], y = kTwice * (x + kCubic * x * x * x), s = Sigmoid(y);
      const double slope = kTwice * (1 + 3 * kCubic * x * x);
      const double units = 8 * std::abs(y) * (1 - s) + kExpUnits + 2;
      const double inner = std::abs(x) * slope * (s * units + 10 * (1 - s)) + 1;
      const double bound = s * (inner + std::abs(1 + x * (1 - s) * slope) * (units + 2)) * std::abs(gradient_[i]);
      share.Check(got[i], exact, bound * kUnit * kSecondOrder + kDifferenceError);
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.05) << share.worst();
}

TEST_P(GradientKernelsTest, ActivationsEndWithSlopesOfZeroAndOne) {
  for (const auto kernel : {scalar_.silu_gradient, scalar_.gelu_tanh_gradient}) {
    for (float large : {100.0f, 1e10f, 1e30f}) {
      const Floats high(count_, large), low(count_, -large);
      Floats up = gradient_, down = gradient_;
      kernel(high.data(), up.data(), count_);
      kernel(low.data(), down.data(), count_);
      for (int64_t i = 0; i < count_; ++i) {
        EXPECT_EQ(up[i], gradient_[i]);
        EXPECT_EQ(down[i], 0);
      }
    }
  }
}

Doubles Softmax(const Doubles& x) {
  Doubles out;
  double sum = 0;
  for (double value : x) sum += std::exp(value);
  for (double value : x) out.push_back(std::exp(value) / sum);
  return out;
}

// The shares are rounded once before the kernel sees them; it rounds the sum, the difference and the product.
TEST_P(GradientKernelsTest, SoftmaxIsTheDifferenceQuotient) {
  WorstShare share;
  for (float magnitude : {0.01f, 3.0f}) {
    const Floats in = RandomFloats(count_, 24, magnitude);
    const Doubles exact_shares = Softmax(Doubles(in.begin(), in.end()));
    const Floats shares(exact_shares.begin(), exact_shares.end());
    Floats got = gradient_;
    scalar_.softmax_gradient(shares.data(), got.data(), count_);
    const double sum = Sum(count_, [&](int64_t i) { return shares[i] * std::abs(gradient_[i]); });
    for (int64_t i = 0; i < count_; ++i) {
      const double exact = Difference(&Softmax, in, gradient_, i, 1e-3);
      const double units = static_cast<double>(LaneRoundings(count_) + 1) * sum + 3 * (std::abs(gradient_[i]) + sum);
      share.Check(got[i], exact, shares[i] * units * kUnit * kSecondOrder + kDifferenceError);
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.005) << share.worst();
}

TEST_P(GradientKernelsTest, WhatHasNoShareHasNoGradient) {
  Floats shares(count_, 0.0f), got(count_, 1e30f);
  shares[count_ / 2] = 1;
  scalar_.softmax_gradient(shares.data(), got.data(), count_);
  for (float value : got) EXPECT_EQ(value, 0);
}

// With h = w g: h is rounded, s by one unit, the common factor by three more and by what the mean of x h feels of h;
// then the product, the difference and the last product.
TEST_P(GradientKernelsTest, RmsNormIsTheDifferenceQuotient) {
  constexpr double kEpsilon = 1e-6;
  const Floats weight = RandomFloats(count_, 25);
  const double n = static_cast<double>(count_);
  WorstShare share;
  for (float magnitude : {0.01f, 1.0f, 100.0f}) {
    const Floats in = RandomFloats(count_, 26, magnitude);
    const Function norm = [&](const Doubles& x) {
      const double s = 1 / std::sqrt(Sum(count_, [&](int64_t i) { return x[i] * x[i]; }) / n + kEpsilon);
      Doubles out;
      for (int64_t i = 0; i < count_; ++i) out.push_back(x[i] * s * weight[i]);
      return out;
    };
    Floats got = gradient_;
    scalar_.rms_norm_gradient(in.data(), weight.data(), kEpsilon, got.data(), count_);
    const auto h = [&](int64_t i) { return double{weight[i]} * gradient_[i]; };
    const double s = 1 / std::sqrt(Sum(count_, [&](int64_t i) { return double{in[i]} * in[i]; }) / n + kEpsilon);
    const double factor = s * s * std::abs(Sum(count_, [&](int64_t i) { return in[i] * h(i); })) / n;
    const double felt = s * s * Sum(count_, [&](int64_t i) { return std::abs(in[i] * h(i)); }) / n;
    for (int64_t i = 0; i < count_; ++i) {
      const double x = std::abs(in[i]);
      const double units = s * (4 * std::abs(h(i)) + x * (7 * factor + felt));
      const double exact = Difference(norm, in, gradient_, i, 1e-3 * magnitude);
      share.Check(got[i], exact, units * kUnit * kSecondOrder + kDifferenceError * (1 + s));
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.05) << share.worst();
}

// As above; a rounded mean m moves every c by u |m|, and each c is rounded.
TEST_P(GradientKernelsTest, LayerNormIsTheDifferenceQuotient) {
  constexpr double kEpsilon = 1e-5;
  const Floats weight = RandomFloats(count_, 27);
  const double n = static_cast<double>(count_);
  WorstShare share;
  for (float shift : {0.0f, 3.0f, 300.0f}) {
    const Floats in = RandomFloats(count_, 28, 2, shift);
    const auto moments = [&](const Doubles& x) {
      const double mean = Sum(count_, [&](int64_t i) { return x[i]; }) / n;
      const double variance = Sum(count_, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / n;
      return std::pair(mean, 1 / std::sqrt(variance + kEpsilon));
    };
    const Function norm = [&](const Doubles& x) {
      const auto [mean, s] = moments(x);
      Doubles out;
      for (int64_t i = 0; i < count_; ++i) out.push_back((x[i] - mean) * s * weight[i]);
      return out;
    };
    Floats got = gradient_, centered = in;
    scalar_.layer_norm_gradient(centered.data(), weight.data(), kEpsilon, got.data(), count_);
    const auto [mean, s] = moments(Doubles(in.begin(), in.end()));
    const auto c = [&, m = mean](int64_t i) { return in[i] - m; };
    const auto h = [&](int64_t i) { return double{weight[i]} * gradient_[i]; };
    const double common = std::abs(Sum(count_, h)) / n;
    const double common_felt = Sum(count_, [&](int64_t i) { return std::abs(h(i)); }) / n;
    const double factor = s * s * std::abs(Sum(count_, [&](int64_t i) { return c(i) * h(i); })) / n;
    const double felt = s * s * Sum(count_, [&](int64_t i) { return std::abs(c(i) * h(i)); }) / n;
    const double moved = std::abs(mean);
    for (int64_t i = 0; i < count_; ++i) {
      const double size = std::abs(c(i));
      // s: one rounding, and those of c; the factor: twice that, c and h in its sum, and the moved mean.
      const double units = s * (6 * std::abs(h(i)) + 6 * common + common_felt +
                                size * (11 * factor + 2 * felt + s * s * moved * common) + moved * factor);
      const double squared = 2 * kUnit * moved * moved * s * s;  // the moved mean in the variance
      const double exact = Difference(norm, in, gradient_, i, 2e-3);
      const double bound = units + squared * s * (std::abs(h(i)) + common + size * factor);
      share.Check(got[i], exact, bound * kUnit * kSecondOrder + kDifferenceError * (1 + s));
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.03) << share.worst();
}

INSTANTIATE_TEST_SUITE_P(OddSizes, GradientKernelsTest, testing::ValuesIn(kSizes));

}  // namespace
}  // namespace quantd
