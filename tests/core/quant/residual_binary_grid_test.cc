// What must hold of the residual binary grid beyond what grid_test.cc asks of all. Its masks: billm_golden_test.cc.
#include "core/quant/residual_binary_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/quant/bit_stream.h"
#include "core/quant/quantiles.h"
#include "core/quant/residual_binary_weight.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 150;
constexpr int64_t kCols = 90;

std::vector<std::string> BytesOf(const QuantizedWeight& weight) {
  std::vector<std::string> bytes;
  for (const StoredTensor& tensor : weight.ToTensors()) bytes.push_back(tensor.bytes);
  return bytes;
}

class ResidualBinaryTest : public testing::Test {
 protected:
  SiteResult Solve(const Json& overrides) const {
    return QuantizeSite(*context_, TestPlan("billm", overrides, kRows, kCols), weight_.view(), hessian_).value();
  }
  std::unique_ptr<QuantizedWeight> Round(const Json& overrides, const Matrix& weight) const {
    Json settings = {{"grid", "residual_binary"}};
    settings.update(overrides);
    const SitePlan plan = TestPlan("rtn", settings, weight.rows(), weight.cols());
    return std::move(QuantizeSite(*context_, plan, weight.view(), Matrix()).value().weight);
  }

  const std::unique_ptr<ExecutionContext> context_ = TestContext();
  const Matrix weight_ = RandomMatrix(kRows, kCols, 81);
  const Matrix hessian_ = TestHessian(kCols, 4 * kCols, 82);
};

std::vector<Json> Variants() {
  return {{{"binary_block_size", 32}},
          {{"binary_block_size", 32}, {"binary_search", "paper"}, {"subtract_mean", false}},
          {{"saliency", "magnitude"}},
          {{"binary_block_size", 40}, {"act_order", true}}};
}

// Low, high or salient: `high` is the second bit of a weight that is not.
struct Parts {
  std::vector<uint8_t> high;
  explicit Parts(const ResidualBinaryWeight& weight, int64_t row) : high(weight.cols()) {
    const int64_t row_bytes = PackedBytes(weight.cols(), 1);
    UnpackBits(weight.tensors().second_bits.data() + row * row_bytes, weight.cols(), 1, high.data());
  }
};

TEST_F(ResidualBinaryTest, EachPartOfABlockHasTwoValuesARowAndSalientColumnsFour) {
  for (const Json& variant : Variants()) {
    const SiteResult result = Solve(variant);
    const auto& weight = static_cast<const ResidualBinaryWeight&>(*result.weight);
    const Matrix decoded = weight.Decode();
    for (int64_t r = 0; r < kRows; ++r) {
      const Parts parts(weight, r);
      std::map<std::pair<int64_t, int>, std::set<float>> values;
      for (int64_t c = 0; c < kCols; ++c) {
        const int64_t block =
            weight.layout().has_block_index ? weight.tensors().block_index[c] : c / weight.layout().block_size;
        const int part = weight.IsSalient(c) ? 2 : parts.high[c];
        values[{block, part}].insert(decoded.at(r, c));
      }
      for (const auto& [place, distinct] : values) {
        EXPECT_LE(distinct.size(), place.second == 2 ? 4u : 2u) << variant << " row " << r << " block " << place.first;
      }
    }
  }
}

// Per row, on the weights of the salient columns: the second plane starts from what the first one leaves.
TEST_F(ResidualBinaryTest, TheSecondPlaneNeverAddsError) {
  const Matrix weight = RandomMatrix(kRows, 64, 83);
  const auto rounded = Round({{"scale_dtype", "f32"}, {"saliency", "magnitude"}}, weight);
  const auto& binary = static_cast<const ResidualBinaryWeight&>(*rounded);
  const Matrix decoded = rounded->Decode();
  std::vector<int64_t> salient;
  for (int64_t c = 0; c < 64; ++c) {
    if (binary.IsSalient(c)) salient.push_back(c);
  }
  ASSERT_GT(salient.size(), 1u);
  for (int64_t r = 0; r < kRows; ++r) {
    double mean = 0, reach = 0, one_plane = 0, two_planes = 0;
    for (int64_t c : salient) mean += weight.at(r, c) / static_cast<double>(salient.size());
    for (int64_t c : salient) reach += std::abs(weight.at(r, c) - mean) / static_cast<double>(salient.size());
    for (int64_t c : salient) {
      const double first = std::abs(weight.at(r, c) - mean) - reach;
      const double both = static_cast<double>(decoded.at(r, c)) - weight.at(r, c);
      one_plane += first * first;
      two_planes += both * both;
    }
    EXPECT_LE(two_planes, one_plane * (1 + 1e-5)) << "row " << r;  // levels are rounded to f32
  }
}

// Every candidate tried by hand, from the definition and in f64: no number of salient columns and no split is better.
double PlanesError(const std::vector<double>& values, int planes) {
  std::vector<double> rest = values;
  for (int plane = 0; plane < planes && !rest.empty(); ++plane) {
    double mean = 0, scale = 0;
    for (double value : rest) mean += value / static_cast<double>(rest.size());
    for (double value : rest) scale += std::abs(value - mean) / static_cast<double>(rest.size());
    for (double& value : rest) value -= mean + (value >= mean ? scale : -scale);
  }
  double error = 0;
  for (double value : rest) error += value * value;
  return error;
}

TEST_F(ResidualBinaryTest, SalientColumnsAndSplitHaveTheLeastError) {
  const Matrix weight = RandomMatrix(20, 60, 84);
  const auto rounded = Round({{"saliency", "magnitude"}}, weight);
  const auto& binary = static_cast<const ResidualBinaryWeight&>(*rounded);
  std::vector<std::pair<double, int64_t>> ranked;
  for (int64_t c = 0; c < 60; ++c) {
    double sum = 0;
    for (int64_t r = 0; r < 20; ++r) sum += std::abs(weight.at(r, c));
    ranked.push_back({-sum, c});
  }
  std::sort(ranked.begin(), ranked.end());
  double least = 1e300;
  int64_t best = 0;
  for (int64_t n = 1; n <= 49; ++n) {
    double error = 0;
    for (int64_t r = 0; r < 20; ++r) {
      std::vector<double> salient, others;
      for (int64_t i = 0; i < 60; ++i) (i < n ? salient : others).push_back(weight.at(r, ranked[i].second));
      error += PlanesError(salient, 2) + PlanesError(others, 2);
    }
    if (error < least) best = n;
    least = std::min(least, error);
  }
  for (int64_t i = 0; i < 60; ++i) EXPECT_EQ(binary.IsSalient(ranked[i].second), i < best) << i << " of " << best;

  const auto split_error = [&](const auto& is_high) {
    double error = 0;
    for (int64_t r = 0; r < 20; ++r) {
      std::vector<double> low, high;
      for (int64_t c = 0; c < 60; ++c) {
        if (!binary.IsSalient(c)) (is_high(r, c) ? high : low).push_back(weight.at(r, c));
      }
      error += PlanesError(low, 1) + PlanesError(high, 1);
    }
    return error;
  };
  std::vector<float> magnitudes;
  for (int64_t c = 0; c < 60; ++c) {
    for (int64_t r = 0; r < 20; ++r) magnitudes.push_back(binary.IsSalient(c) ? 0 : std::abs(weight.at(r, c)));
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  const double ours = split_error([&](int64_t r, int64_t c) { return Parts(binary, r).high[c] != 0; });
  for (int i = 10; i <= 90; ++i) {
    const double place = i / 100.0 * 1199;
    const int64_t rank = static_cast<int64_t>(place);
    const double split = magnitudes[rank] + (magnitudes[rank + 1] - magnitudes[rank]) * (place - std::floor(place));
    EXPECT_GE(split_error([&](int64_t r, int64_t c) { return std::abs(weight.at(r, c)) >= split; }), ours - 1e-9) << i;
  }
}

TEST_F(ResidualBinaryTest, BlocksWiderThanTheLayerAndShortLastBlocksWork) {
  const SiteResult wide = Solve({{"binary_block_size", 4096}});
  EXPECT_EQ(static_cast<const ResidualBinaryWeight&>(*wide.weight).layout().blocks(), 1);
  const SiteResult narrow = Solve({{"binary_block_size", 89}});  // a last block of one column
  EXPECT_EQ(static_cast<const ResidualBinaryWeight&>(*narrow.weight).layout().blocks(), 2);
  EXPECT_LT(narrow.relative_squared_error, 1);
  // Reports say so.
  EXPECT_THAT(wide.weight->Summary(), testing::HasSubstr("one block"));
  EXPECT_THAT(narrow.weight->Summary(), testing::HasSubstr("blocks of 89 and one of 1"));
}

// Squares of such weights are beyond f32.
TEST_F(ResidualBinaryTest, HugeWeightsGiveFiniteLevelsOrAnError) {
  Matrix weight = RandomMatrix(kRows, kCols, 88);
  weight.at(3, 4) = 1e25f;
  weight.at(3, 5) = -1e30f;
  const auto rounded = Round({{"scale_dtype", "f32"}}, weight);
  const Matrix decoded = rounded->Decode();
  for (float value : decoded.span()) ASSERT_TRUE(std::isfinite(value));
  const SitePlan plan = TestPlan("billm", Json::object(), kRows, kCols);
  const auto refused = QuantizeSite(*context_, plan, weight.view(), hessian_);
  EXPECT_THAT(refused, FailsWith("SCALE_OUT_OF_RANGE", "row 3"));
  EXPECT_THAT(refused, FailsWith("SCALE_OUT_OF_RANGE", "scale_dtype=f32"));
}

TEST_F(ResidualBinaryTest, CompensationBetweenBlocksHelps) {
  const Matrix correlated = TestHessian(kCols, kCols / 2, 87);
  const auto error = [&](const char* preset, Json settings) {
    settings["binary_block_size"] = 15;
    const SitePlan plan = TestPlan(preset, settings, kRows, kCols);
    return QuantizeSite(*context_, plan, weight_.view(), correlated).value().relative_squared_error;
  };
  EXPECT_LT(error("billm", Json::object()), error("rtn", {{"grid", "residual_binary"}}));
}

TEST_F(ResidualBinaryTest, StoredBytesAreTheBitsAccountedFor) {
  for (const Json& variant : Variants()) {
    const SiteResult result = Solve(variant);
    const ResidualBinaryLayout& layout = static_cast<const ResidualBinaryWeight&>(*result.weight).layout();
    EXPECT_EQ(8 * result.weight->StoredBytes(), layout.StoredBits()) << variant;
  }
  // The formula of docs/methods.md, and what plans say.
  const Matrix weight = RandomMatrix(256, 512, 85);
  const auto rounded = Round(Json::object(), weight);
  EXPECT_NEAR(rounded->BitsPerWeight(), 2 + 7.0 * 16 / 128 + 1.0 / 256, 0.01 * 2.88);
  const SitePlan plan = TestPlan("billm", Json::object(), 256, 512);
  EXPECT_EQ(MakeGrid(plan.parameters)->PlannedBits(256, 512), 8.0 * static_cast<double>(rounded->StoredBytes()));
}

TEST_F(ResidualBinaryTest, ThreadsAndInstructionSetsChangeNoByte) {
  for (const Json& variant : Variants()) {
    const SitePlan plan = TestPlan("billm", variant, kRows, kCols);
    const std::vector<std::string> expected = BytesOf(*Solve(variant).weight);
    for (const char* isa : {"scalar", "avx2", "avx512"}) {
      for (const int threads : {1, 3}) {
        const auto context = ExecutionContext::Create({.threads = threads, .isa_at_most = isa}).value();
        ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight_.view(), hessian_));
        EXPECT_EQ(BytesOf(*result.weight), expected) << variant << " " << isa << " " << threads;
      }
    }
  }
}

TEST_F(ResidualBinaryTest, ScalingTheSensitivityChangesNothing) {
  for (const Json& variant : Variants()) {
    const std::vector<std::string> expected = BytesOf(*Solve(variant).weight);
    Matrix scaled = Matrix::CopyOf(hessian_.view());
    for (float& value : scaled.span()) value *= 1024;
    const SitePlan plan = TestPlan("billm", variant, kRows, kCols);
    ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context_, plan, weight_.view(), scaled));
    EXPECT_EQ(BytesOf(*result.weight), expected) << variant;
  }
}

TEST(Quantiles, AreThoseOfTheSortedValues) {
  // Fewer and more than what is sorted at once.
  for (const int64_t count : {int64_t{1}, int64_t{2}, int64_t{1000}, int64_t{100000}}) {
    const Matrix random = RandomMatrix(1, count, 86);
    std::vector<float> values(random.span().begin(), random.span().end());
    for (float& value : values) value = std::abs(value) < 0.2f ? 0.0f : std::abs(value);
    const std::vector<double> shares = {0, 0.1, 0.105, 0.5, 0.9, 1};
    const std::vector<float> quantiles = Quantiles(values, shares);
    std::sort(values.begin(), values.end());
    for (size_t i = 0; i < shares.size(); ++i) {
      const double place = shares[i] * static_cast<double>(count - 1);
      const int64_t rank = static_cast<int64_t>(place);
      const double at = values[rank], next = values[std::min(rank + 1, count - 1)];
      EXPECT_EQ(quantiles[i], static_cast<float>(at + (next - at) * (place - static_cast<double>(rank)))) << count;
    }
  }
}

}  // namespace
}  // namespace quantd
