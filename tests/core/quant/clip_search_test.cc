// The search for a tighter range is never worse than the full range in what it minimizes, sum of |error|^2.4, whatever
// the weights.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 9;
constexpr int64_t kCols = 44;  // the last group is short
constexpr int64_t kGroup = 16;

struct Weights {
  const char* name;
  float (*value)(float uniform, int64_t col);  // of a number in [-1, 1)
};

const Weights kWeights[] = {
    {"Uniform", [](float u, int64_t) { return u; }},
    {"HeavyTails", [](float u, int64_t) { return u * u * u * u * u; }},
    {"OneOutlier", [](float u, int64_t col) { return col % kGroup == 3 ? 40.0f : u; }},
    {"Positive", [](float u, int64_t) { return u + 1.5f; }},
    {"Negative", [](float u, int64_t) { return u - 1; }},
    {"TwoValues", [](float u, int64_t) { return u > 0 ? 0.3f : -0.7f; }},
    {"Constant", [](float, int64_t) { return 0.1f; }},
    {"Zero", [](float, int64_t) { return 0.0f; }},
    {"Small", [](float u, int64_t) { return 1e-4f * u; }},
    {"Large", [](float u, int64_t) { return 1e4f * u; }},
};

class ClipSearchTest : public testing::TestWithParam<std::tuple<Weights, int>> {
 protected:
  Matrix Weight() const {
    Matrix weight = RandomMatrix(kRows, kCols, 51);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kCols; ++c) weight.at(r, c) = std::get<0>(GetParam()).value(weight.at(r, c), c);
    }
    return weight;
  }
};

// The sum over rows [first, end) of a group, and what rounding may move it by.
struct Objective {
  double sum = 0;
  double rounding = 0;
};

// Near ties are decided with scales in f64. The stored ones are rounded, as are range, shrunken range and decoded
// value: an error moves by four units of the value.
Objective ObjectiveOf(const Matrix& weight, const Matrix& decoded, int64_t first, int64_t end, int64_t group) {
  Objective objective;
  for (int64_t r = first; r < end; ++r) {
    for (int64_t c = group * kGroup; c < std::min(kCols, (group + 1) * kGroup); ++c) {
      const double error = std::abs(double{decoded.at(r, c)} - weight.at(r, c));
      objective.sum += std::pow(error, 2.4);
      const double moved = error + 4 * 0x1p-24 * std::abs(decoded.at(r, c));
      objective.rounding += std::pow(moved, 2.4) - std::pow(error, 2.4);
    }
  }
  return objective;
}

Matrix Rounded(const Matrix& weight, const Json& overrides) {
  const SitePlan plan = TestPlan("rtn", overrides, weight.rows(), weight.cols());
  return QuantizeSite(*TestContext(), plan, weight.view(), Matrix()).value().weight->Decode();
}

void CheckSetting(const Matrix& weight, Json overrides) {
  SCOPED_TRACE(overrides);
  const Matrix full = Rounded(weight, overrides);
  overrides["clip_search"] = "mse";
  const Matrix best = Rounded(weight, overrides);
  const int64_t shared = overrides["per_row"] == true ? 1 : kRows;  // rows that share a scale
  for (int64_t r = 0; r < kRows; r += shared) {
    for (int64_t g = 0; g * kGroup < kCols; ++g) {
      const Objective before = ObjectiveOf(weight, full, r, r + shared, g);
      const Objective after = ObjectiveOf(weight, best, r, r + shared, g);
      EXPECT_LE(after.sum, before.sum + before.rounding + after.rounding) << "row " << r << " group " << g;
    }
  }
}

TEST_P(ClipSearchTest, IsNeverWorseThanTheFullRange) {
  const int bits = std::get<1>(GetParam());
  for (const char* dtype : {"f16", "f32"}) {
    for (bool symmetric : {false, true}) {
      if (symmetric && bits == 1) continue;  // no such grid
      for (bool per_row : {true, false}) {
        CheckSetting(Weight(), {{"bits", bits},
                                {"group_size", kGroup},
                                {"scale_dtype", dtype},
                                {"symmetric", symmetric},
                                {"per_row", per_row}});
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(WeightsAndBits, ClipSearchTest,
                         testing::Combine(testing::ValuesIn(kWeights), testing::Range(1, 9)), [](const auto& row) {
                           return std::get<0>(row.param).name + std::to_string(std::get<1>(row.param)) + "Bits";
                         });

TEST(ClipSearch, GivesUpAnOutlierWhereThatPays) {
  Matrix weight = RandomMatrix(1, 512, 52);
  weight.at(0, 100) = 3;
  const Json overrides = {{"bits", 2}, {"group_size", -1}, {"scale_dtype", "f32"}};
  Json searched = overrides;
  searched["clip_search"] = "mse";
  const auto context = TestContext();
  ASSERT_OK_AND_ASSIGN(const SiteResult full,
                       QuantizeSite(*context, TestPlan("rtn", overrides, 1, 512), weight.view(), Matrix()));
  ASSERT_OK_AND_ASSIGN(const SiteResult best,
                       QuantizeSite(*context, TestPlan("rtn", searched, 1, 512), weight.view(), Matrix()));
  EXPECT_LT(best.weight->Decode().at(0, 100), 2);
  EXPECT_LT(best.relative_squared_error, full.relative_squared_error / 2);
}

}  // namespace
}  // namespace quantd
