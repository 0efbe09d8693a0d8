// What must hold of the two-level grid beyond what grid_test.cc asks of all. Its codes: spqr_golden_test.cc.
#include "core/quant/two_level_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/quant/solver.h"
#include "core/quant/two_level_weight.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 150;  // ends in a tile of 6 rows, and in the second slab of the solvers
constexpr int64_t kCols = 96;

// `overrides` on top of settings that no option of the solver disturbs.
Json Settings(const Json& overrides) {
  Json settings = {{"bits", 3}, {"group_size", 16}, {"act_order", false}, {"damping", 0.01}};
  settings.update(overrides);
  return settings;
}

class TwoLevelTest : public testing::Test {
 protected:
  SiteResult Solve(const Json& overrides, const Matrix& weight) const {
    return QuantizeSite(*context_, TestPlan("spqr", Settings(overrides), weight.rows(), weight.cols()), weight.view(),
                        hessian_)
        .value();
  }
  static const TwoLevelWeight& AsTwoLevel(const SiteResult& result) {
    return static_cast<const TwoLevelWeight&>(*result.weight);
  }
  std::unique_ptr<QuantizedWeight> Round(const Json& overrides, const Matrix& weight) const {
    Json settings = {{"grid", "two_level"}, {"group_size", 16}, {"bits", 3}};
    settings.update(overrides);
    const SitePlan plan = TestPlan("rtn", settings, weight.rows(), weight.cols());
    return std::move(QuantizeSite(*context_, plan, weight.view(), Matrix()).value().weight);
  }

  const std::unique_ptr<ExecutionContext> context_ = TestContext();
  const Matrix weight_ = RandomMatrix(kRows, kCols, 71);
  const Matrix hessian_ = TestHessian(kCols, 4 * kCols, 72);
};

std::vector<std::string> BytesOf(const QuantizedWeight& weight) {
  std::vector<std::string> bytes;
  for (const StoredTensor& tensor : weight.ToTensors()) bytes.push_back(tensor.bytes);
  return bytes;
}

// No outliers, one group a row, no second level, whole zeros: what is left is GPTQ, to the last code.
TEST_F(TwoLevelTest, ReducesToGptq) {
  for (const char* dtype : {"f16", "f32"}) {
    for (const int bits : {2, 3, 4}) {
      const Json shared = {{"bits", bits}, {"group_size", -1}, {"scale_dtype", dtype}, {"damping", 0.01}};
      Json gptq = shared, reduced = shared;
      gptq.update({{"act_order", false}, {"static_groups", false}});
      reduced.update({{"outliers", "none"}, {"scale_bits", 0}, {"zero_bits", 0}, {"round_zero", true}});
      const SitePlan plan = TestPlan("gptq", gptq, kRows, kCols);
      ASSERT_OK_AND_ASSIGN(const SiteResult expected, QuantizeSite(*context_, plan, weight_.view(), hessian_));
      const SiteResult result = Solve(reduced, weight_);
      EXPECT_EQ(BytesOf(*result.weight), BytesOf(*expected.weight)) << bits << " " << dtype;
    }
  }
}

TEST_F(TwoLevelTest, ShareOfOutliersFallsAsTheThresholdRises) {
  int64_t before = kRows * kCols + 1;
  for (const double threshold : {0.0005, 0.002, 0.01, 0.03, 0.06, 50.0}) {
    const int64_t outliers = AsTwoLevel(Solve({{"outlier_threshold", threshold}}, weight_)).layout().outliers;
    EXPECT_LT(outliers, before) << threshold;
    before = outliers;
  }
  EXPECT_EQ(before, 0);  // far above any rounding error
}

TEST_F(TwoLevelTest, OutliersAreTheWeightsThemselves) {
  Matrix weight = RandomMatrix(kRows, kCols, 73);
  for (int64_t r = 0; r < kRows; r += 7) weight.at(r, r % kCols) = 6;
  const auto rounded = Round({{"outlier_threshold", 0.5}}, weight);
  const auto& two_level = static_cast<const TwoLevelWeight&>(*rounded);
  const Matrix decoded = rounded->Decode();
  int64_t found = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int32_t c : two_level.OutlierColumnsOfRow(r)) {
      EXPECT_EQ(decoded.at(r, c), AsStored(weight.at(r, c), Dtype::kF16)) << r << " " << c;
      found += weight.at(r, c) == 6 ? 1 : 0;
    }
  }
  EXPECT_EQ(found, (kRows + 6) / 7);
}

// A single large weight spoils the grid of its group, so that others become outliers, unless that is fitted without it.
TEST_F(TwoLevelTest, LeavingOutSparesTheGroup) {
  Matrix weight = RandomMatrix(kRows, kCols, 74);
  for (int64_t r = 0; r < kRows; ++r) weight.at(r, 5) = 9;
  const auto outliers_with = [&](const char* outliers) {
    const auto rounded = Round({{"outliers", outliers}, {"outlier_threshold", 0.5}}, weight);
    return static_cast<const TwoLevelWeight&>(*rounded).layout().outliers;
  };
  EXPECT_LT(outliers_with("leave_one_out"), outliers_with("simple") / 2);
}

TEST_F(TwoLevelTest, OutliersBeyondTheirTypeStayOnTheGrid) {
  Matrix weight = RandomMatrix(16, 16, 75);
  weight.at(3, 4) = 1e6f;  // f16 ends at 65504
  const Json settings = {{"outlier_dtype", "f16"}, {"scale_dtype", "f32"}};
  const auto rounded = Round(settings, weight);
  const Matrix decoded = rounded->Decode();
  for (float value : decoded.span()) EXPECT_TRUE(std::isfinite(value));
  EXPECT_TRUE(static_cast<const TwoLevelWeight&>(*rounded).OutlierColumnsOfRow(3).empty());
}

// The released code gives both the range [-1, 1]: 16 scales of 0.01 come back as about 0.14.
TEST_F(TwoLevelTest, EqualScalesAndEqualWeightsComeBack) {
  Matrix same_rows(kRows, kCols);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kCols; ++c) same_rows.at(r, c) = weight_.at(0, c);
  }
  const Json exact = {{"scale_dtype", "f32"}, {"outliers", "none"}};
  Json plain = exact;
  plain.update({{"scale_bits", 0}, {"zero_bits", 0}});
  const Matrix tiled = Round(exact, same_rows)->Decode(), untiled = Round(plain, same_rows)->Decode();
  EXPECT_EQ(std::vector<float>(tiled.span().begin(), tiled.span().end()),
            std::vector<float>(untiled.span().begin(), untiled.span().end()));

  Matrix constant(kRows, kCols);
  std::fill(constant.span().begin(), constant.span().end(), -0.37f);
  // One rounding each of scale = 0.37 / 7 and of 7 scale.
  const Matrix decoded = Round(exact, constant)->Decode();
  for (float value : decoded.span()) EXPECT_NEAR(value, -0.37f, 0.37f * 0x1p-23f);

  Json authors = exact;
  authors["equal_values"] = "authors";
  EXPECT_GT(std::abs(Round(authors, constant)->Decode().at(0, 0) + 0.37f), 0.1f);
}

TEST_F(TwoLevelTest, RowsOfAShortLastTileHaveLevelsOfTheirOwn) {
  Matrix weight = RandomMatrix(kRows, kCols, 76);
  for (int64_t r = kRows - kRows % 16; r < kRows; ++r) {
    for (int64_t c = 0; c < kCols; ++c) weight.at(r, c) *= 1000;
  }
  const auto whole = Round(Json::object(), weight);
  // Alone, the rows before it get the same codes and levels.
  Matrix before(kRows - kRows % 16, kCols);
  std::copy_n(weight.data(), before.size(), before.data());
  const Json no_outliers = {{"outliers", "none"}};
  const Matrix all = Round(no_outliers, weight)->Decode(), some = Round(no_outliers, before)->Decode();
  for (int64_t i = 0; i < before.size(); ++i) ASSERT_EQ(all.span()[i], some.span()[i]) << i;
  EXPECT_EQ(static_cast<const TwoLevelWeight&>(*whole).layout().tiles(), 10);
  EXPECT_THAT(whole->Summary(), testing::HasSubstr("last tile of 6 rows"));  // reports say so
}

TEST_F(TwoLevelTest, StoredBytesAreTheBitsAccountedFor) {
  const std::vector<Json> settings = {{{"outliers", "none"}},
                                      {{"act_order", true}},
                                      {{"scale_bits", 0}, {"zero_bits", 0}},
                                      {{"symmetric", true}},
                                      {{"round_zero", true}, {"zero_bits", 0}},
                                      {{"outlier_dtype", "f32"}, {"scale_dtype", "f32"}, {"tile_rows", 7}}};
  for (const Json& overrides : settings) {
    const SiteResult result = Solve(overrides, weight_);
    const TwoLevelLayout& layout = AsTwoLevel(result).layout();
    const uint64_t outlier_bits = 8 * (2 + DtypeBytes(layout.outlier_dtype));
    EXPECT_EQ(8 * result.weight->StoredBytes(), layout.BitsWithoutOutliers() + outlier_bits * layout.outliers)
        << overrides;
  }
}

// The formula of docs/methods.md, and what plans say.
TEST_F(TwoLevelTest, StoredBitsFollowTheFormulaWithinOnePercent) {
  const Matrix weight = RandomMatrix(512, 256, 77);
  const auto rounded = Round({{"outlier_threshold", 0.09}}, weight);
  const auto& layout = static_cast<const TwoLevelWeight&>(*rounded).layout();
  const double share = static_cast<double>(layout.outliers) / (512.0 * 256.0);
  EXPECT_GT(share, 0.001);
  const double formula = 3 + 2 * 3.0 / 16 + 64.0 / (16 * 16) + 32 * share + 16.0 / 256;
  EXPECT_NEAR(rounded->BitsPerWeight(), formula, 0.01 * formula);

  const Json settings = {{"grid", "two_level"}, {"group_size", 16}, {"bits", 3}, {"outliers", "none"}};
  const SitePlan plan = TestPlan("rtn", settings, 512, 256);
  const double stored = 8.0 * static_cast<double>(Round({{"outliers", "none"}}, weight)->StoredBytes());
  EXPECT_EQ(MakeGrid(plan.parameters)->PlannedBits(512, 256), stored);
}

std::vector<Json> Variants() {
  return {Json::object(),
          {{"act_order", true}},
          {{"bits", 2}, {"outlier_threshold", 1}},
          {{"outliers", "simple"}},
          {{"group_size", 48}, {"solver_block_size", 32}}};
}

TEST_F(TwoLevelTest, ThreadsAndInstructionSetsChangeNoByte) {
  for (const Json& variant : Variants()) {
    const SitePlan plan = TestPlan("spqr", Settings(variant), kRows, kCols);
    const std::vector<std::string> expected = BytesOf(*Solve(variant, weight_).weight);
    for (const char* isa : {"scalar", "avx2", "avx512"}) {
      for (const int threads : {1, 3}) {
        const auto context = ExecutionContext::Create({.threads = threads, .isa_at_most = isa}).value();
        ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight_.view(), hessian_));
        EXPECT_EQ(BytesOf(*result.weight), expected) << variant << " " << isa << " " << threads;
      }
    }
  }
}

TEST_F(TwoLevelTest, ScalingTheSensitivityChangesNothing) {
  for (const Json& variant : Variants()) {
    const std::vector<std::string> expected = BytesOf(*Solve(variant, weight_).weight);
    for (const float factor : {0x1p-40f, 1024.0f}) {
      Matrix scaled = Matrix::CopyOf(hessian_.view());
      for (float& value : scaled.span()) value *= factor;
      const SitePlan plan = TestPlan("spqr", Settings(variant), kRows, kCols);
      ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context_, plan, weight_.view(), scaled));
      EXPECT_EQ(BytesOf(*result.weight), expected) << variant << " " << factor;
    }
  }
}

TEST_F(TwoLevelTest, ScaleBeyondF16IsRefusedByRowAndRemedy) {
  Matrix weight = RandomMatrix(kRows, kCols, 78);
  weight.at(20, 3) = 1e7f;
  const SitePlan plan = TestPlan("spqr", Settings({{"outliers", "none"}}), kRows, kCols);
  const auto result = QuantizeSite(*context_, plan, weight.view(), hessian_);
  EXPECT_THAT(result, FailsWith("SCALE_OUT_OF_RANGE", "row 16"));  // of its tile
  EXPECT_THAT(result, FailsWith("SCALE_OUT_OF_RANGE", "scale_dtype=f32"));

  weight.at(20, 3) = 3e38f;
  weight.at(20, 4) = -3e38f;  // a range beyond f32
  EXPECT_THAT(QuantizeSite(*context_, TestPlan("spqr", Settings({{"scale_dtype", "f32"}}), kRows, kCols), weight.view(),
                           hessian_),
              FailsWith("SCALE_OUT_OF_RANGE", "row"));
}

}  // namespace
}  // namespace quantd
