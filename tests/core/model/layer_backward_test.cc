// The small operations backward, against the functions that they belong to: activations by differences in f64, the rest
// by the transposes that they are. Norms and the smooth activations: tests/core/compute/gradient_kernels_test.cc.
#include "core/model/layer_backward.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "tests/core/compute/rounding_bounds.h"
#include "tests/core/model/small_models.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

const ExecutionContext& Context() {
  static const auto* const kContext = ExecutionContext::Create({.threads = 2}).value().release();
  return *kContext;
}

double Activated(Activation activation, double x) {
  const double root = std::sqrt(2.0);
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluErf:
      return 0.5 * x * (1 + std::erf(x / root));
  }
  return NAN;
}

// By differences over four steps, as in gradient_kernels_test.cc.
double Slope(Activation activation, double x) {
  constexpr double kStep = 1e-3;
  const auto at = [&](double steps) { return Activated(activation, x + steps * kStep); };
  return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * kStep);
}

constexpr Activation kActivations[] = {Activation::kSilu, Activation::kRelu, Activation::kGeluTanh,
                                       Activation::kGeluErf};

// What rounding makes of a slope. For x s(y(x)), as in gradient_kernels_test.cc, with y and y' those of the kind; for
// erf half of it is off by its 4 units, and x times the density, of exp, by 6 units and twice those of x^2 in its
// argument.
double SlopeError(Activation activation, double x) {
  if (activation == Activation::kRelu) return 0;
  if (activation == Activation::kGeluErf) {
    return (6 + std::abs(x) * std::exp(-x * x / 2) * 0.4 * (6 + 2 * x * x)) * kUnit;
  }
  const bool gelu = activation == Activation::kGeluTanh;
  const double y = gelu ? 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x) : x;
  const double y_slope = gelu ? 2 * std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x) : 1;
  const double s = 1 / (1 + std::exp(-y)), units = 8 * std::abs(y) * (1 - s) + 6;
  const double inner = std::abs(x) * y_slope * (s * units + 10 * (1 - s)) + 1;
  return s * (inner + std::abs(1 + x * (1 - s) * y_slope) * (units + 2)) * kUnit;
}

// Away from ReLU's kink by more than two steps.
Matrix Inputs(int64_t rows, int64_t cols) {
  Matrix in = RandomMatrix(rows, cols, 1, 5);
  for (float& value : in.span()) {
    if (std::abs(value) < 0.01f) value = 0.01f;
  }
  return in;
}

TEST(ActivationBackward, MultipliesByTheSlope) {
  const Matrix in = Inputs(37, 50), gradient = RandomMatrix(37, 50, 2);
  for (Activation activation : kActivations) {
    Matrix got = Matrix::CopyOf(gradient.view());
    ActivationBackward(Context(), activation, in.view(), got.view());
    WorstShare share;
    for (int64_t i = 0; i < in.size(); ++i) {
      const double g = gradient.data()[i];
      share.Check(got.data()[i], g * Slope(activation, in.data()[i]),
                  std::abs(g) * (SlopeError(activation, in.data()[i]) + kUnit) + 1e-11);
    }
    EXPECT_TRUE(activation == Activation::kRelu || share.worst() > 0.02) << share.worst();
  }
}

TEST(ActivationBackward, ReluPassesNothingAtAndBelowZero) {
  Matrix in(1, 4), gradient = RandomMatrix(1, 4, 3);
  in.at(0, 1) = -1;
  in.at(0, 2) = -0.0f;
  in.at(0, 3) = 1;
  const float last = gradient.at(0, 3);
  ActivationBackward(Context(), Activation::kRelu, in.view(), gradient.view());
  EXPECT_EQ(gradient.at(0, 0), 0);
  EXPECT_EQ(gradient.at(0, 1), 0);
  EXPECT_EQ(gradient.at(0, 2), 0);
  EXPECT_EQ(gradient.at(0, 3), last);
}

// d(a(x) u) = a'(x) u dx + a(x) du.
TEST(GateBackward, IsTheProductRule) {
  const Matrix in = Inputs(37, 50), up = RandomMatrix(37, 50, 4, 3), gradient = RandomMatrix(37, 50, 5);
  for (Activation activation : kActivations) {
    Matrix activated = Matrix::CopyOf(in.view()), gate = RandomMatrix(37, 50, 6), got_up = Matrix::CopyOf(up.view());
    GateBackward(Context(), activation, gradient.view(), activated.view(), gate.view(), got_up.view());
    for (int64_t i = 0; i < in.size(); ++i) {
      const double g = gradient.data()[i], x = in.data()[i], u = up.data()[i];
      const double value = Activated(activation, x);
      EXPECT_NEAR(gate.data()[i], g * u * Slope(activation, x),
                  std::abs(g * u) * (SlopeError(activation, x) + 2 * kUnit) + 1e-10);
      // A share of x: at most 1, and off by fewer units than its slope is.
      const double value_error = std::abs(x) * (SlopeError(activation, x) + 2 * kUnit);
      EXPECT_NEAR(activated.data()[i], value, value_error);
      EXPECT_NEAR(got_up.data()[i], g * value, std::abs(g) * (value_error + std::abs(value) * kUnit));
    }
  }
}

// <R x, y> = <x, R^T y>; four products and their sums are rounded for each pair on either side.
TEST(RotaryBackward, IsTheTransposeOfTheTurn) {
  for (const char* name : {"llama", "gpt_neox"}) {
    const auto models = SmallModels();
    const auto found =
        std::find_if(models.begin(), models.end(), [&](const SmallModel& m) { return m.name == std::string(name); });
    const auto model = OpenSmallModel(*found);
    const int64_t head_size = model->config().head_size, cols = 3 * head_size;
    RotaryTables tables(model->config());
    const auto table = tables.Covering(40);
    const Matrix x = RandomMatrix(40, cols, 7), y = RandomMatrix(40, cols, 8);
    Matrix turned = Matrix::CopyOf(x.view()), back = Matrix::CopyOf(y.view());
    ApplyRotary(Context(), *table, head_size, 0, turned.view());
    RotaryBackward(Context(), *table, head_size, back.view());
    for (int64_t t = 0; t < x.rows(); ++t) {
      double left = 0, right = 0, magnitude = 0;
      for (int64_t c = 0; c < cols; ++c) {
        left += double{turned.at(t, c)} * y.at(t, c);
        right += double{x.at(t, c)} * back.at(t, c);
        magnitude += std::abs(y.at(t, c)) + std::abs(x.at(t, c));
      }
      EXPECT_NEAR(left, right, Gamma(3) * std::sqrt(2.0) * magnitude) << name << " " << t;
    }
    // Turned and turned back.
    RotaryBackward(Context(), *table, head_size, turned.view());
    for (int64_t i = 0; i < x.size(); ++i) EXPECT_NEAR(turned.data()[i], x.data()[i], 8 * kUnit);
  }
}

TEST(LinearBackward, IsTheProductWithTheWeight) {
  Linear linear{RandomMatrix(70, 33, 9), std::vector<float>(70, 1.0f)};
  const Matrix delta = RandomMatrix(20, 70, 10);
  Matrix replaced = RandomMatrix(20, 33, 11), added = RandomMatrix(20, 33, 11);
  const Matrix start = Matrix::CopyOf(added.view());
  LinearBackward(Context(), linear, delta.view(), replaced.view());
  LinearBackward(Context(), linear, delta.view(), added.view(), Into::kAdd);
  for (int64_t t = 0; t < 20; ++t) {
    for (int64_t c = 0; c < 33; ++c) {
      Exact exact;
      for (int64_t r = 0; r < 70; ++r) exact.Add(delta.at(t, r), linear.weight.at(r, c));
      EXPECT_NEAR(replaced.at(t, c), exact.value, Gamma(71) * exact.magnitude);
      exact.Add(1, start.at(t, c));
      EXPECT_NEAR(added.at(t, c), exact.value, Gamma(72) * exact.magnitude);
    }
  }
}

}  // namespace
}  // namespace quantd
