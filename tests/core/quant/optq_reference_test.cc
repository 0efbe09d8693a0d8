// OPTQ's codes against LDLQ (QuIP, arXiv 2307.13304), which reaches the same codes by another road: with columns in
// reverse order and H = (U' + I) D (U' + I)^T, every column is rounded once, to
//     w_j + (w - q)[columns before j in the sweep] * row j of the unit factor,
// from the original weights and with no inverse of H anywhere. All in f64, here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 30;
constexpr int64_t kCols = 72;
constexpr double kDamping = 0.01;
// A row with a value this close to a rounding tie, in steps, may go either way in f32: a value of at most max_code
// steps is rounded once a column, and the factor of H, whose condition number is ((1 + sqrt(1/2)) / (1 - sqrt(1/2)))^2
// = 34 for twice as many samples as columns, spreads errors of half a step.
double TieMargin(double max_code) {
  return static_cast<double>(kCols) * 0x1p-24 * (max_code + 34.0 / 2);
}

using Doubles = std::vector<double>;

// H + damping * mean(diag H) I with rows and columns in the order of the sweep.
Doubles DampedInOrder(const Matrix& hessian, const std::vector<int>& order) {
  const int64_t n = hessian.rows();
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += hessian.at(i, i) / static_cast<double>(n);
  Doubles damped(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) damped[i * n + j] = hessian.at(order[i], order[j]);
    damped[i * n + i] += kDamping * mean;
  }
  return damped;
}

// H = R D R^T with R upper and unit, by elimination from the last column. Gives R.
Doubles UnitUpperFactor(Doubles h, int64_t n) {
  Doubles r(n * n);
  for (int64_t j = n - 1; j >= 0; --j) {
    for (int64_t i = 0; i <= j; ++i) r[i * n + j] = h[i * n + j] / h[j * n + j];
    for (int64_t a = 0; a < j; ++a) {
      for (int64_t b = 0; b < j; ++b) h[a * n + b] -= r[a * n + j] * r[b * n + j] * h[j * n + j];
    }
  }
  return r;
}

struct Grid {
  double scale, zero, max_code;
  double CodeAt(double value) const { return std::clamp(std::nearbyint(value / scale) + zero, 0.0, max_code); }
  double Value(double code) const { return scale * (code - zero); }
  // Distance to the nearest tie in steps; ties that clamping hides do not count.
  double Margin(double value) const {
    const double position = value / scale + zero;
    if (position < 0.4 || position > max_code - 0.4) return 1;
    return std::abs(position - std::floor(position) - 0.5);
  }
};

struct CodedRow {
  std::vector<int> codes;
  double margin = 1;
};

// Column j of the sweep is rounded knowing the errors of all before it: the unit factor R couples column i < j by
// R[i][j], so that the error e_i = w_i - q_i asks for e_i R[i][j] from column j.
CodedRow Ldlq(const std::vector<double>& weights, const Doubles& unit, const Grid& grid,
              const std::vector<int>& order) {
  const int64_t n = static_cast<int64_t>(order.size());
  CodedRow row{std::vector<int>(n)};
  Doubles errors(n);
  for (int64_t j = 0; j < n; ++j) {
    double target = weights[order[j]];
    for (int64_t i = 0; i < j; ++i) target += errors[i] * unit[i * n + j];
    const double code = grid.CodeAt(target);
    row.margin = std::min(row.margin, grid.Margin(target));
    row.codes[order[j]] = static_cast<int>(code);
    errors[j] = weights[order[j]] - grid.Value(code);
  }
  return row;
}

std::vector<int> OrderOf(const Matrix& hessian, bool act_order) {
  std::vector<int> order(hessian.rows());
  std::iota(order.begin(), order.end(), 0);
  if (act_order) {
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return hessian.at(a, a) > hessian.at(b, b); });
  }
  return order;
}

class OptqReferenceTest : public testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(OptqReferenceTest, CodesAreThoseOfLdlq) {
  const auto [bits, act_order] = GetParam();
  const Matrix weight = RandomMatrix(kRows, kCols, 71);
  const Matrix hessian = TestHessian(kCols, 2 * kCols, 72);
  const SitePlan plan = TestPlan("gptq",
                                 {{"bits", bits},
                                  {"group_size", -1},
                                  {"act_order", act_order},
                                  {"static_groups", false},
                                  {"scale_dtype", "f32"},
                                  {"damping", kDamping}},
                                 kRows, kCols);
  ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*TestContext(), plan, weight.view(), hessian));
  const UniformWeight& uniform = AsUniform(result);
  const std::vector<int> order = OrderOf(hessian, act_order);
  const Doubles unit = UnitUpperFactor(DampedInOrder(hessian, order), kCols);
  int64_t compared = 0;
  int64_t repaid = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    float scale;
    uint8_t zero;
    std::vector<uint8_t> codes(kCols);
    uniform.ScalesOfRow(r, absl::MakeSpan(&scale, 1));
    uniform.ZerosOfRow(r, absl::MakeSpan(&zero, 1));
    uniform.CodesOfRow(r, absl::MakeSpan(codes));
    const Grid grid = {scale, static_cast<double>(zero), static_cast<double>((1 << bits) - 1)};
    const std::vector<double> weights(weight.row(r), weight.row(r) + kCols);
    const CodedRow expected = Ldlq(weights, unit, grid, order);
    if (expected.margin < TieMargin(grid.max_code)) continue;
    ++compared;
    for (int64_t c = 0; c < kCols; ++c) {
      ASSERT_EQ(codes[c], expected.codes[c]) << "row " << r << " column " << c << " margin " << expected.margin;
      repaid += codes[c] != grid.CodeAt(weights[c]);
    }
  }
  // Of 72 values in a row one lies that near to a tie with a chance of 2 * 72 * margin: at most 17 %, for 8 bits.
  EXPECT_GE(compared, kRows / 2);
  EXPECT_GT(repaid, compared);  // codes that differ from rounding to nearest: the comparison is not about nothing
}

INSTANTIATE_TEST_SUITE_P(BitsAndOrder, OptqReferenceTest,
                         testing::Combine(testing::Values(2, 3, 4, 8), testing::Bool()));

}  // namespace
}  // namespace quantd
