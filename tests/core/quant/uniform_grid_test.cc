// The uniform grid against its definition, computed here in f64 and by trying every code.
#include "core/quant/uniform_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/quant/uniform_kernels.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 9;
constexpr int64_t kCols = 32;
constexpr int64_t kGroup = 8;

SiteResult Round(const Json& overrides, const Matrix& weight) {
  const SitePlan plan = TestPlan("rtn", overrides, weight.rows(), weight.cols());
  return QuantizeSite(*TestContext(), plan, weight.view(), Matrix()).value();
}

// Scales, zeros and codes of one row, widened.
struct Row {
  Row(const UniformWeight& weight, int64_t row)
      : scales(weight.layout().groups()), zeros(weight.layout().groups()), codes(weight.cols()) {
    weight.ScalesOfRow(row, absl::MakeSpan(scales));
    weight.ZerosOfRow(row, absl::MakeSpan(zeros));
    weight.CodesOfRow(row, absl::MakeSpan(codes));
  }
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
  std::vector<uint8_t> codes;
};

struct Range {
  double lo = 0;
  double hi = 0;
};

Range RangeOf(const Matrix& weight, int64_t row, int64_t group) {
  Range range;
  for (int64_t c = group * kGroup; c < (group + 1) * kGroup; ++c) {
    range.lo = std::min<double>(range.lo, weight.at(row, c));
    range.hi = std::max<double>(range.hi, weight.at(row, c));
  }
  return range;
}

class UniformBitsTest : public testing::TestWithParam<int> {
 protected:
  const int bits_ = GetParam();
  const int max_code_ = (1 << bits_) - 1;
  const Matrix weight_ = RandomMatrix(kRows, kCols, 41);
};

TEST_P(UniformBitsTest, ScaleAndZeroFollowTheDefinition) {
  const SiteResult result = Round({{"bits", bits_}, {"group_size", kGroup}, {"scale_dtype", "f32"}}, weight_);
  for (int64_t r = 0; r < kRows; ++r) {
    const Row row(AsUniform(result), r);
    for (int64_t g = 0; g < kCols / kGroup; ++g) {
      const Range range = RangeOf(weight_, r, g);
      const double scale = (range.hi - range.lo) / max_code_;
      // One subtraction and one division in f32.
      EXPECT_NEAR(row.scales[g], scale, 2 * 0x1p-24 * scale);
      EXPECT_EQ(row.zeros[g], std::nearbyint(-range.lo / scale));
    }
  }
}

TEST_P(UniformBitsTest, EveryWeightGetsTheNearestOfAllLevels) {
  for (const char* dtype : {"f16", "f32"}) {
    const SiteResult result = Round({{"bits", bits_}, {"group_size", kGroup}, {"scale_dtype", dtype}}, weight_);
    const Matrix decoded = result.weight->Decode();
    for (int64_t r = 0; r < kRows; ++r) {
      const Row row(AsUniform(result), r);
      for (int64_t c = 0; c < kCols; ++c) {
        const double scale = row.scales[c / kGroup];
        double nearest = 1e30;
        for (int code = 0; code <= max_code_; ++code) {
          nearest = std::min(nearest, std::abs(scale * (code - row.zeros[c / kGroup]) - weight_.at(r, c)));
        }
        // The quotient is rounded: near a tie either neighbour may be taken, which differ by that rounding.
        const double rounding = 2 * 0x1p-24 * std::abs(weight_.at(r, c));
        EXPECT_LE(std::abs(double{decoded.at(r, c)} - weight_.at(r, c)), nearest + rounding) << r << " " << c;
      }
    }
  }
}

TEST_P(UniformBitsTest, RoundingTwiceChangesNothing) {
  const Json overrides = {{"bits", bits_}, {"group_size", kGroup}, {"clip_search", "none"}, {"scale_dtype", "f32"}};
  const Matrix once = Round(overrides, weight_).weight->Decode();
  const Matrix twice = Round(overrides, once).weight->Decode();
  for (int64_t i = 0; i < once.size(); ++i) {
    // The second fit's range is that of decoded values, a few roundings away from levels of the first; when no weight
    // used an end level its grid is a finer one, in which the old values need not be levels.
    const int64_t row = i / kCols;
    const Range range = RangeOf(once, row, i % kCols / kGroup);
    const Range before = RangeOf(weight_, row, i % kCols / kGroup);
    const double scale = (before.hi - before.lo) / max_code_;
    if (range.hi - range.lo < (before.hi - before.lo) - scale / 4) continue;
    EXPECT_NEAR(twice.span()[i], once.span()[i], 8 * 0x1p-24 * (range.hi - range.lo)) << i;
  }
}

TEST_P(UniformBitsTest, PowersOfTwoScaleTheScalesAndLeaveTheCodes) {
  const Json overrides = {{"bits", bits_}, {"group_size", kGroup}};
  Matrix larger = Matrix::CopyOf(weight_.view());
  for (float& value : larger.span()) value *= 8;
  const SiteResult one = Round(overrides, weight_);
  const SiteResult eight = Round(overrides, larger);
  EXPECT_EQ(CodesOf(AsUniform(one)), CodesOf(AsUniform(eight)));
  for (int64_t r = 0; r < kRows; ++r) {
    const Row row(AsUniform(one), r);
    const Row row_of_larger(AsUniform(eight), r);
    EXPECT_EQ(row.zeros, row_of_larger.zeros);
    for (size_t g = 0; g < row.scales.size(); ++g) EXPECT_EQ(row_of_larger.scales[g], 8 * row.scales[g]);
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, UniformBitsTest, testing::Range(1, 9));

TEST(UniformGrid, SymmetricGridsSpanBothSidesEvenWithoutNegativeWeights) {
  Matrix weight = RandomMatrix(kRows, kCols, 42);
  for (float& value : weight.span()) value = std::abs(value);
  const Json overrides = {{"bits", 4}, {"group_size", kGroup}, {"symmetric", true}, {"scale_dtype", "f32"}};
  const SiteResult result = Round(overrides, weight);
  const Row row(AsUniform(result), 0);
  for (uint8_t zero : row.zeros) EXPECT_EQ(zero, 8);
  // Nothing is clipped: at most half a step. The largest weight lies half a step above the last level.
  const Matrix decoded = result.weight->Decode();
  for (int64_t c = 0; c < kCols; ++c) {
    EXPECT_LE(std::abs(decoded.at(0, c) - weight.at(0, c)), row.scales[c / kGroup] * 0.501f) << c;
  }
  // The released code's rule clips all above 7 / 15 of the maximum there.
  Json authors = overrides;
  authors["symmetric_range"] = "authors";
  EXPECT_GT(Round(authors, weight).relative_squared_error, 10 * result.relative_squared_error);
}

TEST(UniformGrid, ScalesAreRoundedBeforeCodesAreComputed) {
  const Matrix weight = RandomMatrix(kRows, kCols, 43);
  const SiteResult result = Round({{"bits", 8}, {"group_size", kGroup}, {"scale_dtype", "f16"}}, weight);
  const Matrix decoded = result.weight->Decode();
  double worst = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    const Row row(AsUniform(result), r);
    for (float scale : row.scales) EXPECT_EQ(F16ToF32(F32ToF16(scale)), scale);
    for (int64_t c = 0; c < kCols; ++c) {
      const double steps = std::abs(double{decoded.at(r, c)} - weight.at(r, c)) / row.scales[c / kGroup];
      worst = std::max(worst, steps);
      // Inside: half a step. At the ends a scale rounded down by 2^-11 loses up to 255 * 2^-11 of a step more.
      EXPECT_LE(steps, 0.5 + 256 * 0x1p-11 + 1e-3) << r << " " << c;
    }
  }
  EXPECT_GT(worst, 0.4);
}

TEST(UniformGrid, SharedScalesSpanTheLargestRow) {
  Matrix weight = RandomMatrix(kRows, kCols, 44, 0.1f);
  weight.at(4, 1) = 1;
  const SiteResult result = Round({{"bits", 4}, {"group_size", kGroup}, {"per_row", false}}, weight);
  EXPECT_EQ(AsUniform(result).layout().scale_rows(), 1);
  const Row first(AsUniform(result), 0);
  const Row last(AsUniform(result), kRows - 1);
  EXPECT_EQ(first.scales, last.scales);
  // Only the group of the large weight has a wide range: about (1 + 0.1) / 15 against 0.2 / 15.
  EXPECT_GT(first.scales[0], 4 * first.scales[1]);
}

double ClipError(const Matrix& weight, const Matrix& decoded, int64_t row, int64_t group) {
  double error = 0;
  for (int64_t c = group * kGroup; c < (group + 1) * kGroup; ++c) {
    error += std::pow(std::abs(double{decoded.at(row, c)} - weight.at(row, c)), 2.4);
  }
  return error;
}

// The least sum of |error|^2.4 over the ranges that the search tries, in f64.
double BestClipError(const Matrix& weight, int64_t row, int64_t group, int max_code) {
  const Range range = RangeOf(weight, row, group);
  double best = 1e30;
  for (int step = 0; step < 80; ++step) {
    const double scale = (1 - step / 100.0) * (range.hi - range.lo) / max_code;
    const double zero = std::nearbyint(-(1 - step / 100.0) * range.lo / scale);
    double error = 0;
    for (int64_t c = group * kGroup; c < (group + 1) * kGroup; ++c) {
      const double code = std::clamp(std::nearbyint(weight.at(row, c) / scale) + zero, 0.0, double(max_code));
      error += std::pow(std::abs(scale * (code - zero) - weight.at(row, c)), 2.4);
    }
    best = std::min(best, error);
  }
  return best;
}

TEST(UniformGrid, ClipSearchFindsTheBestOfItsRanges) {
  const Matrix weight = RandomMatrix(kRows, kCols, 45);
  const Json overrides = {{"bits", 2}, {"group_size", kGroup}, {"scale_dtype", "f32"}};
  Json searched = overrides;
  searched["clip_search"] = "mse";
  const Matrix plain = Round(overrides, weight).weight->Decode();
  const Matrix clipped = Round(searched, weight).weight->Decode();
  int improved = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t g = 0; g < kCols / kGroup; ++g) {
      const double found = ClipError(weight, clipped, r, g);
      // Sums in f32 of |error|^2.4 carry its relative rounding, some 1e-6; codes near a tie add their own.
      EXPECT_LE(found, BestClipError(weight, r, g, 3) * (1 + 1e-5)) << r << " " << g;
      improved += found < ClipError(weight, plain, r, g) * 0.99;
    }
  }
  EXPECT_GT(improved, kRows);  // the search changes something in this data
}

TEST(UniformGrid, RangeBeyondTheScaleTypeIsRefusedWithTheRow) {
  Matrix weight = RandomMatrix(kRows, kCols, 46);
  weight.at(5, 20) = 2e6f;  // over 15 is beyond 65504
  const SitePlan plan = TestPlan("rtn", {{"bits", 4}, {"group_size", kGroup}}, kRows, kCols);
  const auto result = QuantizeSite(*TestContext(), plan, weight.view(), Matrix());
  EXPECT_THAT(result, FailsWith("SCALE_OUT_OF_RANGE", "row 5, inputs 16..23"));
  EXPECT_THAT(result, FailsWith("SCALE_OUT_OF_RANGE", "scale_dtype=f32"));
  EXPECT_THAT(result, FailsWith("SCALE_OUT_OF_RANGE", "test.site"));
  EXPECT_OK(QuantizeSite(*TestContext(),
                         TestPlan("rtn", {{"group_size", kGroup}, {"scale_dtype", "f32"}}, kRows, kCols), weight.view(),
                         Matrix()));
}

TEST(UniformGrid, WeightsThatAreNotFiniteAreRefusedWithTheirPlace) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Matrix weight = RandomMatrix(kRows, kCols, 47);
    weight.at(3, 7) = bad;
    weight.at(8, 1) = bad;
    const auto result =
        QuantizeSite(*TestContext(), TestPlan("rtn", {{"group_size", kGroup}}, kRows, kCols), weight.view(), Matrix());
    EXPECT_THAT(result, FailsWith("WEIGHT_NOT_FINITE", "row 3, column 7"));
  }
}

TEST(UniformGrid, ErrorFallsWithEveryBit) {
  const Matrix weight = RandomMatrix(kRows, kCols, 48);
  double before = 1e30;
  for (int bits = 1; bits <= 8; ++bits) {
    const double error = Round({{"bits", bits}, {"group_size", kGroup}}, weight).relative_squared_error;
    EXPECT_LT(error, before) << bits;
    before = error;
  }
}

}  // namespace
}  // namespace quantd
