// The scalar vector kernels against references in f64, at sizes around the widths of registers and lanes. The other
// tables: vector_kernel_tables_test.cc.
#include "core/compute/vector_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

constexpr int64_t kSizes[] = {1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1000, 4097};
// Bounds are sums of first-order terms; what products of two roundings add.
constexpr double kSecondOrder = 1 + 1e-4;
// exp: half a unit for the reduced argument, 3.3 for the polynomial, 0.1 for its truncation.
constexpr double kExpUnits = 4;

using Floats = std::vector<float>;

Floats RandomFloats(int64_t count, uint64_t seed, float magnitude = 1, float shift = 0) {
  const Matrix matrix = RandomMatrix(1, count, seed, magnitude);
  Floats values(matrix.data(), matrix.data() + count);
  for (float& value : values) value += shift;
  return values;
}

class VectorKernelsTest : public testing::TestWithParam<int64_t> {
 protected:
  const int64_t count_ = GetParam();
  const VectorKernels& scalar_ = ScalarVectorKernels();
};

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// Relative error of a share: x - max is rounded, which costs |x - max| units; the same weighted by the shares, which is
// at most ln(count), for the sum; exp twice; the additions; the reciprocal; the product.
TEST_P(VectorKernelsTest, SoftmaxIsThatOfF64) {
  for (float magnitude : {0.01f, 3.0f, 60.0f}) {
    Floats values = RandomFloats(count_, 1, magnitude);
    const Floats inputs = values;
    scalar_.softmax(values.data(), count_);
    double maximum = -INFINITY, sum = 0;
    for (float x : inputs) maximum = std::max<double>(maximum, x);
    for (float x : inputs) sum += std::exp(x - maximum);
    const double common = std::log(count_) + 2 * kExpUnits + static_cast<double>(LaneRoundings(count_)) + 2;
    WorstShare share;
    for (int64_t i = 0; i < count_; ++i) {
      const double difference = maximum - inputs[i];
      const double exact = difference > 87 ? 0 : std::exp(-difference) / sum;
      const double bound = (difference + common) * kUnit * exact * kSecondOrder;
      share.Check(values[i], exact, bound + std::numeric_limits<float>::denorm_min());
    }
    EXPECT_TRUE(count_ < 15 || share.worst() > 0.01) << share.worst();
  }
}

TEST_P(VectorKernelsTest, SoftmaxTakesMinusInfinityForNothing) {
  Floats values(count_, -std::numeric_limits<float>::infinity());
  values[count_ / 2] = -1e30f;
  scalar_.softmax(values.data(), count_);
  for (int64_t i = 0; i < count_; ++i) EXPECT_EQ(values[i], i == count_ / 2 ? 1 : 0);
}

TEST_P(VectorKernelsTest, SiluIsThatOfF64) {
  WorstShare share;
  for (float magnitude : {1e-3f, 1.0f, 20.0f, 86.9f}) {
    Floats values = RandomFloats(count_, 2, magnitude);
    const Floats inputs = values;
    scalar_.silu(values.data(), count_);
    for (int64_t i = 0; i < count_; ++i) {
      const double exact = inputs[i] * Sigmoid(inputs[i]);
      // exp, 1 + e, 1 / e, the product.
      share.Check(values[i], exact, (kExpUnits + 3) * kUnit * std::abs(exact) * kSecondOrder);
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.1) << share.worst();
}

TEST_P(VectorKernelsTest, GeluIsThatOfF64) {
  WorstShare share;
  for (float magnitude : {1e-3f, 1.0f, 9.0f}) {
    Floats values = RandomFloats(count_, 3, magnitude);
    const Floats inputs = values;
    scalar_.gelu_tanh(values.data(), count_);
    for (int64_t i = 0; i < count_; ++i) {
      const double x = inputs[i];
      const double twice = 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      const double exact = x * Sigmoid(twice);
      // Eight roundings of `twice` (two of constants), of which sigmoid feels twice * sigmoid(-twice); then as in silu.
      const double units = 8 * std::abs(twice) * Sigmoid(-twice) + kExpUnits + 3;
      share.Check(values[i], exact, units * kUnit * std::abs(exact) * kSecondOrder);
    }
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.1) << share.worst();
}

TEST_P(VectorKernelsTest, ActivationsEndInZeroAndTheIdentity) {
  for (const auto activation : {scalar_.silu, scalar_.gelu_tanh}) {
    for (float large : {100.0f, 1e4f, 1e20f, std::numeric_limits<float>::max()}) {
      Floats up(count_, large), down(count_, -large);
      activation(up.data(), count_);
      activation(down.data(), count_);
      for (int64_t i = 0; i < count_; ++i) {
        EXPECT_EQ(up[i], large);
        EXPECT_EQ(down[i], 0);
      }
    }
  }
}

TEST_P(VectorKernelsTest, RmsNormIsThatOfF64) {
  WorstShare share;
  for (float magnitude : {1e-15f, 1.0f, 1e15f}) {
    const Floats in = RandomFloats(count_, 4, magnitude), weight = RandomFloats(count_, 5);
    Floats out(count_);
    scalar_.rms_norm(in.data(), weight.data(), 1e-6, out.data(), count_);
    double squares = 0;
    for (float x : in) squares += double{x} * x;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(count_) + 1e-6);
    for (int64_t i = 0; i < count_; ++i) {
      const double exact = in[i] * scale * weight[i];
      share.Check(out[i], exact, 3 * kUnit * std::abs(exact) * kSecondOrder);  // scale and two products
    }
    Floats in_place = in;
    scalar_.rms_norm(in_place.data(), weight.data(), 1e-6, in_place.data(), count_);
    EXPECT_EQ(in_place, out);
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.3) << share.worst();
}

// With c = x - mean and s = 1 / sqrt(variance + epsilon): the rounded mean m moves every c by u |m| and so the variance
// by its square; c, s (twice for c in the variance) and two products are rounded; then the sum with the bias.
TEST_P(VectorKernelsTest, LayerNormIsThatOfF64) {
  WorstShare share;
  for (float shift : {0.0f, 3.0f, 1000.0f}) {
    const Floats in = RandomFloats(count_, 6, 2, shift), weight = RandomFloats(count_, 7),
                 bias = RandomFloats(count_, 8);
    Floats out(count_);
    scalar_.layer_norm(in.data(), weight.data(), bias.data(), 1e-5, out.data(), count_);
    const double size = static_cast<double>(count_);
    double mean = 0, variance = 0;
    for (float x : in) mean += x / size;
    for (float x : in) variance += (x - mean) * (x - mean) / size;
    const double scale = 1 / std::sqrt(variance + 1e-5);
    const double moved = kUnit * std::abs(mean);
    for (int64_t i = 0; i < count_; ++i) {
      const double product = (in[i] - mean) * scale * weight[i];
      const double exact = product + bias[i];
      const double relative = 5 * kUnit + 0.5 * moved * moved * scale * scale;
      const double bound = std::abs(product) * relative + moved * scale * std::abs(weight[i]) + std::abs(exact) * kUnit;
      share.Check(out[i], exact, bound * kSecondOrder);
    }
    Floats in_place = in;
    scalar_.layer_norm(in_place.data(), weight.data(), bias.data(), 1e-5, in_place.data(), count_);
    EXPECT_EQ(in_place, out);
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.1) << share.worst();
}

TEST_P(VectorKernelsTest, RotateTurnsPairs) {
  const Floats low = RandomFloats(count_, 9), high = RandomFloats(count_, 10), angles = RandomFloats(count_, 11, 3);
  Floats cosine(count_), sine(count_), x = low, y = high;
  for (int64_t i = 0; i < count_; ++i) {
    cosine[i] = std::cos(angles[i]);
    sine[i] = std::sin(angles[i]);
  }
  scalar_.rotate(x.data(), y.data(), cosine.data(), sine.data(), count_);
  WorstShare share;
  for (int64_t i = 0; i < count_; ++i) {
    Exact exact_x, exact_y;
    exact_x.Add(low[i], cosine[i]);
    exact_x.Add(-high[i], sine[i]);
    exact_y.Add(high[i], cosine[i]);
    exact_y.Add(low[i], sine[i]);
    share.Check(x[i], exact_x, 2);
    share.Check(y[i], exact_y, 2);
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.1) << share.worst();
}

TEST_P(VectorKernelsTest, AddAndMultiplyRoundOnce) {
  const Floats from = RandomFloats(count_, 12), into = RandomFloats(count_, 13);
  Floats sum = into, product = into;
  scalar_.add(from.data(), sum.data(), count_);
  scalar_.multiply(from.data(), product.data(), count_);
  for (int64_t i = 0; i < count_; ++i) {
    EXPECT_EQ(sum[i], into[i] + from[i]);
    EXPECT_EQ(product[i], into[i] * from[i]);
  }
}

TEST_P(VectorKernelsTest, ProductsWithRowsAreThoseOfF64) {
  constexpr int64_t kRows = 7;
  const int64_t stride = count_ + 3;
  const Matrix matrix = RandomMatrix(kRows, stride, 14);
  const Floats x = RandomFloats(count_, 15), weights = RandomFloats(kRows, 16);
  Floats dots(kRows), combined(count_, NAN);
  scalar_.dot_rows(matrix.data(), stride, x.data(), dots.data(), kRows, count_);
  scalar_.combine_rows(matrix.data(), stride, weights.data(), combined.data(), kRows, count_);
  WorstShare share;
  for (int64_t r = 0; r < kRows; ++r) {
    Exact exact;
    for (int64_t i = 0; i < count_; ++i) exact.Add(matrix.at(r, i), x[i]);
    share.Check(dots[r], exact, LaneRoundings(count_));
  }
  for (int64_t i = 0; i < count_; ++i) {
    Exact exact;
    for (int64_t r = 0; r < kRows; ++r) exact.Add(weights[r], matrix.at(r, i));
    share.Check(combined[i], exact, kRows);
  }
  EXPECT_TRUE(count_ < 15 || share.worst() > 0.05) << share.worst();
}

INSTANTIATE_TEST_SUITE_P(OddSizes, VectorKernelsTest, testing::ValuesIn(kSizes));

}  // namespace
}  // namespace quantd
