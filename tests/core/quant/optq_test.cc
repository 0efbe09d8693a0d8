// Properties of the OPTQ solver. Its codes: optq_reference_test.cc, gptq_golden_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/quant/optq_factor.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 40;
constexpr int64_t kCols = 96;

// Without groups, act-order or rounding of scales: what the properties below are stated for.
Json Plain(const Json& more = Json::object()) {
  Json overrides = {{"bits", 3},
                    {"group_size", -1},
                    {"act_order", false},
                    {"static_groups", false},
                    {"scale_dtype", "f32"},
                    {"solver_block_size", 32}};
  overrides.update(more);
  return overrides;
}

SiteResult Solve(const Json& overrides, const Matrix& weight, const Matrix& hessian, int threads = 2) {
  const SitePlan plan = TestPlan("gptq", overrides, weight.rows(), weight.cols());
  return QuantizeSite(*TestContext(threads), plan, weight.view(), hessian).value();
}

Matrix Scaled(const Matrix& matrix, float factor) {
  Matrix scaled = Matrix::CopyOf(matrix.view());
  for (float& value : scaled.span()) value *= factor;
  return scaled;
}

std::vector<uint8_t> PackedBytes(const QuantizedWeight& weight) {
  std::vector<uint8_t> bytes;
  for (const StoredTensor& tensor : weight.ToTensors())
    bytes.insert(bytes.end(), tensor.bytes.begin(), tensor.bytes.end());
  return bytes;
}

class OptqTest : public testing::Test {
 protected:
  const Matrix weight_ = RandomMatrix(kRows, kCols, 61);
  const Matrix hessian_ = TestHessian(kCols, 4 * kCols, 62);
};

// Settings that change what is swept in which order.
std::vector<Json> Variants() {
  return {Plain(), Plain({{"group_size", 16}}), Plain({{"group_size", 16}, {"act_order", true}}),
          Plain({{"group_size", 16}, {"act_order", true}, {"static_groups", true}}),
          Plain({{"act_order", true}, {"bits", 2}})};
}

TEST_F(OptqTest, DiagonalSensitivityGivesTheCodesOfRoundToNearest) {
  Matrix diagonal(kCols, kCols);
  for (int64_t i = 0; i < kCols; ++i) diagonal.at(i, i) = 0.1f + static_cast<float>(i * 37 % 11);
  for (const Json& variant : Variants()) {
    if (variant["act_order"] == true && variant["static_groups"] == false && variant["group_size"] != -1) {
      continue;  // groups of neighbours in sweep order: another grid
    }
    const Json grid = {{"bits", variant["bits"]}, {"group_size", variant["group_size"]}, {"scale_dtype", "f32"}};
    const SitePlan nearest = TestPlan("rtn", grid, kRows, kCols);
    ASSERT_OK_AND_ASSIGN(const SiteResult expected, QuantizeSite(*TestContext(), nearest, weight_.view(), Matrix()));
    const SiteResult result = Solve(variant, weight_, diagonal);
    EXPECT_EQ(PackedBytes(*result.weight), PackedBytes(*expected.weight)) << variant;
  }
}

TEST_F(OptqTest, PowersOfTwoInTheSensitivityChangeNothingAtAll) {
  for (const Json& variant : Variants()) {
    const SiteResult one = Solve(variant, weight_, hessian_);
    for (float factor : {0x1p-20f, 4.0f, 0x1p60f}) {
      const SiteResult other = Solve(variant, weight_, Scaled(hessian_, factor));
      EXPECT_EQ(PackedBytes(*other.weight), PackedBytes(*one.weight)) << variant << " " << factor;
      EXPECT_EQ(other.relative_squared_error, one.relative_squared_error) << variant << " " << factor;
    }
  }
}

// Other factors round the matrix anew, by 2^-24 of each element: only codes near a tie may differ, and with them what
// is repaid after them in their row.
TEST_F(OptqTest, AnyFactorInTheSensitivityChangesCodesNearTiesOnly) {
  const std::vector<uint8_t> one = CodesOf(AsUniform(Solve(Plain(), weight_, hessian_)));
  for (float factor : {0.3f, 7.1f, 1e-30f, 1e20f}) {
    const std::vector<uint8_t> other = CodesOf(AsUniform(Solve(Plain(), weight_, Scaled(hessian_, factor))));
    int64_t rows_that_differ = 0;
    for (int64_t r = 0; r < kRows; ++r) {
      rows_that_differ +=
          !std::equal(one.begin() + r * kCols, one.begin() + (r + 1) * kCols, other.begin() + r * kCols);
    }
    // A row holds 96 values; that one lies within 1e-5 of a step of a tie has a chance of 1 in 1000.
    EXPECT_LE(rows_that_differ, 1) << factor;
  }
}

// Dead columns and damping are relative, so that a sensitivity at the bottom of f32 still works.
TEST_F(OptqTest, TinySensitivityIsScaledBeforeItIsFactored) {
  const SiteResult result = Solve(Plain(), weight_, Scaled(hessian_, 0x1p-120f));
  EXPECT_FALSE(result.nearest_fallback);
  EXPECT_EQ(result.damping_retries, 0);
  EXPECT_EQ(CodesOf(AsUniform(result)), CodesOf(AsUniform(Solve(Plain(), weight_, hessian_))));
}

TEST_F(OptqTest, BlockSizeChangesNothingWithoutGroups) {
  for (bool act_order : {false, true}) {
    const Json whole = Plain({{"solver_block_size", 1}, {"act_order", act_order}});
    const std::vector<uint8_t> one = CodesOf(AsUniform(Solve(whole, weight_, hessian_)));
    for (int block : {7, 32, 96, 128}) {
      const Json blocked = Plain({{"solver_block_size", block}, {"act_order", act_order}});
      // Sums are taken in another order, 2^-24 apart: no tie is that near in this data.
      EXPECT_EQ(CodesOf(AsUniform(Solve(blocked, weight_, hessian_))), one) << block << " " << act_order;
    }
  }
}

TEST_F(OptqTest, BytesAreTheSameForAnyNumberOfThreads) {
  // More rows than one slab, more columns than one block.
  const Matrix weight = RandomMatrix(300, kCols, 63);
  for (const Json& variant : Variants()) {
    const SiteResult one = Solve(variant, weight, hessian_, 1);
    for (int threads : {2, 5}) {
      const SiteResult other = Solve(variant, weight, hessian_, threads);
      EXPECT_EQ(PackedBytes(*other.weight), PackedBytes(*one.weight)) << variant << " " << threads;
      EXPECT_EQ(other.relative_squared_error, one.relative_squared_error) << variant << " " << threads;
    }
  }
}

TEST_F(OptqTest, OutputErrorIsBelowRoundToNearestAndReportedAsItIs) {
  for (const Json& variant : Variants()) {
    const SiteResult result = Solve(variant, weight_, hessian_);
    const Json grid = {{"bits", variant["bits"]}, {"group_size", variant["group_size"]}, {"scale_dtype", "f32"}};
    const SitePlan plan = TestPlan("rtn", grid, kRows, kCols);
    ASSERT_OK_AND_ASSIGN(const SiteResult nearest, QuantizeSite(*TestContext(), plan, weight_.view(), hessian_));
    const double error = OutputError(*result.weight, weight_, hessian_);
    EXPECT_LT(error, OutputError(*nearest.weight, weight_, hessian_)) << variant;
    Matrix zero(kRows, kCols);
    ASSERT_OK_AND_ASSIGN(const SiteResult nothing, QuantizeSite(*TestContext(), plan, zero.view(), hessian_));
    const double norm = OutputError(*nothing.weight, weight_, hessian_);  // 0 - W
    // The factor in f32 of a matrix of condition 9 (four samples a column) is good to 96 * 9 * 2^-24 = 5e-5; the
    // damping's share, which is taken out, adds as much at most.
    EXPECT_NEAR(result.relative_squared_error, error / norm, 1e-4 * error / norm) << variant;
  }
}

}  // namespace
}  // namespace quantd
