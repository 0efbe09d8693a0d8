// What must hold of the binary-coded grids beyond what grid_test.cc asks of all. The search: gptqt_golden_test.cc.
#include "core/quant/binary_coded_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/quant/binary_coded_weight.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 150;  // ends in the second slab of the solvers
constexpr int64_t kCols = 96;
constexpr uint64_t kWeightSeed = 171;
constexpr uint64_t kHessianSeed = 172;

std::vector<float> RowOf(const Matrix& matrix, int64_t row) {
  const absl::Span<const float> values = matrix.view().row_span(row);
  return {values.begin(), values.end()};
}

class BinaryCodedTest : public testing::Test {
 protected:
  SiteResult Solve(const char* preset, const Json& overrides, const Matrix& weight, const Matrix& hessian,
                   int threads = 2) const {
    const auto context = TestContext(threads);
    const SitePlan plan = TestPlan(preset, overrides, weight.rows(), weight.cols());
    return QuantizeSite(*context, plan, weight.view(), hessian).value();
  }
  std::unique_ptr<QuantizedWeight> Round(const Json& overrides, const Matrix& weight) const {
    Json settings = {{"grid", "binary_coded"}, {"group_size", -1}, {"bits", 3}};
    settings.update(overrides);
    return std::move(Solve("rtn", settings, weight, Matrix()).weight);
  }
  std::vector<double> Diagonal() const {
    std::vector<double> diagonal(kCols);
    for (int64_t c = 0; c < kCols; ++c) diagonal[c] = hessian_.at(c, c);
    return diagonal;
  }

  const Matrix weight_ = RandomMatrix(kRows, kCols, kWeightSeed);
  const Matrix hessian_ = TestHessian(kCols, 4 * kCols, kHessianSeed);
};

std::vector<std::string> BytesOf(const QuantizedWeight& weight) {
  std::vector<std::string> bytes;
  for (const StoredTensor& tensor : weight.ToTensors()) bytes.push_back(tensor.bytes);
  return bytes;
}

// The codebook's points are the sums of the merged form, in exact arithmetic.
TEST_F(BinaryCodedTest, MergingChangesNoValue) {
  for (const bool two_roundings : {false, true}) {
    BinaryCodedSearch search({.multipliers = ScaleMultipliers(16, 0.5, 2), .two_roundings = two_roundings},
                             ScalarBinaryCodedKernels());
    for (int64_t row = 0; row < kRows; ++row) {
      const BinaryCodes codes = search.Search(RowOf(weight_, row), Diagonal());
      std::vector<double> sums;
      for (int pattern = 0; pattern < 8; ++pattern) {
        double sum = codes.offset(3);
        for (int i = 0; i < 3; ++i) sum += (pattern >> i & 1) != 0 ? codes.alpha(i) : -codes.alpha(i);
        sums.push_back(sum);
      }
      std::sort(sums.begin(), sums.end());
      for (int level = 0; level < 8; ++level) {
        // A handful of additions of numbers below 2^6 scales.
        EXPECT_NEAR(sums[level], codes.ValueOf(codes.book.points[level]), 64 * 8 * 1e-16 * codes.scale);
      }
    }
  }
}

// The cost that the search reports is that of rounding each weight, step by step as the handbook has it.
double CostByHand(const BinaryCodes& codes, const std::vector<float>& weights, const std::vector<double>& costs,
                  int linear_bits) {
  double total = 0;
  for (size_t k = 0; k < weights.size(); ++k) {
    double target = weights[k] / codes.scale + codes.zero;
    if (codes.two_roundings) target = std::clamp(std::nearbyint(target), 0.0, std::exp2(linear_bits) - 1);
    const auto nearest = std::min_element(codes.book.points.begin(), codes.book.points.end(), [&](int a, int b) {
      return std::abs(a - target) < std::abs(b - target);  // the first of equals: the lower
    });
    const double error = weights[k] - codes.ValueOf(*nearest);
    total += costs[k] * error * error;
  }
  return total;
}

TEST_F(BinaryCodedTest, ReportedCostIsThatOfItsCodes) {
  for (const bool two_roundings : {false, true}) {
    for (const int planes : {1, 2, 3, 4}) {
      const int linear_bits = DefaultLinearBits(planes);
      BinaryCodedSearch search({.planes = planes,
                                .linear_bits = linear_bits,
                                .multipliers = ScaleMultipliers(11, 0.5, 2),
                                .two_roundings = two_roundings},
                               ScalarBinaryCodedKernels());
      for (int64_t row = 0; row < 20; ++row) {
        const BinaryCodes codes = search.Search(RowOf(weight_, row), Diagonal());
        const double by_hand = CostByHand(codes, RowOf(weight_, row), Diagonal(), linear_bits);
        EXPECT_NEAR(codes.cost, by_hand, 1e-9 * by_hand) << planes << " planes, row " << row;
      }
    }
  }
}

// On its own cost, for every family and setting, whatever the weights' distribution.
TEST_F(BinaryCodedTest, NeverCostsMoreThanTheUniformGrid) {
  Matrix heavy_tails = RandomMatrix(kRows, kCols, kWeightSeed);
  for (float& value : heavy_tails.span()) value = value * value * value;
  for (const Matrix* weight : {&weight_, static_cast<const Matrix*>(&heavy_tails)}) {
    for (const int planes : {1, 2, 3, 4}) {
      BinarySearchOptions options = {.planes = planes, .linear_bits = planes + 1, .multipliers = {3.0}};
      BinaryCodedSearch uniform(options, ScalarBinaryCodedKernels());  // a scale that nothing fits
      options.multipliers = ScaleMultipliers(8, 0.5, 2);
      BinaryCodedSearch search(options, ScalarBinaryCodedKernels());
      for (int64_t row = 0; row < 40; ++row) {
        const double cost = search.Search(RowOf(*weight, row), Diagonal()).cost;
        const std::vector<float> values = RowOf(*weight, row);
        const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
        const double lo = std::min(0.0f, *least);
        const double scale = (std::max(0.0f, *greatest) - lo) / ((1 << planes) - 1);
        const double zero = std::nearbyint(-lo / scale);
        double uniform_cost = 0;
        for (int64_t c = 0; c < kCols; ++c) {
          const double code = std::clamp(std::nearbyint(values[c] / scale) + zero, 0.0, std::exp2(planes) - 1);
          const double error = values[c] - scale * (code - zero);
          uniform_cost += Diagonal()[c] * error * error;
        }
        EXPECT_LE(cost, uniform_cost * (1 + 1e-9)) << planes << " planes, row " << row;
      }
    }
  }
}

TEST_F(BinaryCodedTest, AllZeroRowsDecodeToZero) {
  Matrix weight = RandomMatrix(kRows, kCols, kWeightSeed);
  for (float& value : weight.view().row_span(7)) value = 0;
  for (const char* grid : {"binary_coded", "bcq"}) {
    const Matrix decoded = Round({{"grid", grid}}, weight)->Decode();
    for (float value : decoded.view().row_span(7)) EXPECT_EQ(value, 0.0f) << grid;
  }
}

// Min and max of a constant row are 0 and the constant: both are points, to the rounding of two f16 numbers.
TEST_F(BinaryCodedTest, ConstantRowsAreKept) {
  Matrix weight(4, 32);
  for (float& value : weight.span()) value = -0.37f;
  const Matrix decoded = Round(Json::object(), weight)->Decode();
  for (float value : decoded.span()) EXPECT_NEAR(value, -0.37f, 4 * 0.37f * 0x1p-11f);
}

// The search gives up range for the many: the outlier is far off, the others are as near as without it.
TEST_F(BinaryCodedTest, OneHugeOutlierIsWeighedAgainstTheRest) {
  Matrix weight(1, 4096);
  const Matrix random = RandomMatrix(1, 4096, 9);
  for (int64_t c = 0; c < 4096; ++c) weight.at(0, c) = random.at(0, c);
  weight.at(0, 11) = 60000;
  const Matrix decoded = Round({{"bits", 2}}, weight)->Decode();
  for (float value : decoded.span()) EXPECT_TRUE(std::isfinite(value));
  EXPECT_NEAR(decoded.at(0, 11), 60000, 60000 * 0.5);
}

TEST_F(BinaryCodedTest, WeightsBeyondF16AreRefusedByTheirRow) {
  Matrix weight = RandomMatrix(kRows, kCols, kWeightSeed);
  weight.at(5, 3) = 3e38f;
  const auto context = TestContext();
  const SitePlan plan = TestPlan("rtn", {{"grid", "binary_coded"}, {"group_size", 32}, {"bits", 3}}, kRows, kCols);
  EXPECT_THAT(QuantizeSite(*context, plan, weight.view(), Matrix()), FailsWith("SCALE_OUT_OF_RANGE", "row 5"));
}

// f16 scales vanish; what is left is no further away than 0 is, up to one denormal step a plane.
TEST_F(BinaryCodedTest, DenormalWeightsBecomeNearlyZero) {
  Matrix weight = RandomMatrix(kRows, kCols, kWeightSeed);
  for (float& value : weight.span()) value *= 1e-8f;
  const Matrix decoded = Round(Json::object(), weight)->Decode();
  for (size_t i = 0; i < decoded.span().size(); ++i) EXPECT_LE(std::abs(decoded.span()[i]), 4 * 0x1p-24f);
  // f32 scales keep them: within the step of a 3-bit grid over the row's range.
  const Matrix precise = Round({{"scale_dtype", "f32"}}, weight)->Decode();
  for (size_t i = 0; i < precise.span().size(); ++i) {
    EXPECT_NEAR(precise.span()[i], weight.span()[i], 1e-8f * 2 / 7);
  }
}

TEST_F(BinaryCodedTest, SensitivityOfColumnsDecidesBetweenCodes) {
  // All the cost lies in a tenth of the columns: their error under the diagonal is less than without it.
  Matrix hessian(kCols, kCols);
  for (int64_t c = 0; c < kCols; ++c) hessian.at(c, c) = c % 10 == 0 ? 1.0f : 1e-4f;
  const Json rounding = {{"bits", 2}, {"solver", "nearest"}};
  Json plain = rounding;
  plain["search_cost"] = "plain";
  const SiteResult by_diagonal = Solve("gptqt", rounding, weight_, hessian);
  const SiteResult by_weights = Solve("gptqt", plain, weight_, hessian);
  EXPECT_LT(by_diagonal.relative_squared_error, 0.8 * by_weights.relative_squared_error);
  EXPECT_LT(OutputError(*by_diagonal.weight, weight_, hessian), OutputError(*by_weights.weight, weight_, hessian));
}

TEST_F(BinaryCodedTest, SameBytesForEveryNumberOfThreads) {
  for (const char* preset : {"gptqt", "bcq"}) {
    const SiteResult one = Solve(preset, {{"bits", 3}, {"group_size", 32}}, weight_, hessian_, 1);
    for (const int threads : {2, 5}) {
      const SiteResult many = Solve(preset, {{"bits", 3}, {"group_size", 32}}, weight_, hessian_, threads);
      EXPECT_EQ(BytesOf(*one.weight), BytesOf(*many.weight)) << preset << " " << threads;
    }
  }
}

// Scaling the sensitivity by a power of two changes no comparison.
TEST_F(BinaryCodedTest, ScaleOfTheSensitivityIsIrrelevant) {
  Matrix scaled = TestHessian(kCols, 4 * kCols, kHessianSeed);
  for (float& value : scaled.span()) value *= 0x1p-60f;
  const SiteResult one = Solve("gptqt", {}, weight_, hessian_);
  const SiteResult other = Solve("gptqt", {}, weight_, scaled);
  EXPECT_EQ(BytesOf(*one.weight), BytesOf(*other.weight));
}

TEST_F(BinaryCodedTest, BeatsTheUniformGridUnderTheSameSolver) {
  for (const int bits : {2, 3}) {
    const Json overrides = {{"bits", bits}, {"group_size", -1}};
    const SiteResult uniform = Solve("gptq", overrides, weight_, hessian_);
    const SiteResult binary = Solve("gptqt", overrides, weight_, hessian_);
    EXPECT_LT(OutputError(*binary.weight, weight_, hessian_), OutputError(*uniform.weight, weight_, hessian_)) << bits;
  }
}

TEST_F(BinaryCodedTest, GroupsInActOrderKeepTheirIndex) {
  const SiteResult result =
      Solve("gptqt", {{"group_size", 32}, {"static_groups", false}, {"act_order", true}}, weight_, hessian_);
  const auto& weight = static_cast<const BinaryCodedWeight&>(*result.weight);
  EXPECT_TRUE(weight.layout().has_group_index);
}

TEST_F(BinaryCodedTest, StoredBitsAreWhatThePlanSays) {
  for (const Json& overrides :
       {Json{{"bits", 3}}, Json{{"bits", 2}, {"group_size", 32}}, Json{{"scale_dtype", "f32"}}}) {
    const SiteResult result = Solve("gptqt", overrides, weight_, hessian_);
    const SitePlan plan = TestPlan("gptqt", overrides, kRows, kCols);
    const double planned = MakeGrid(plan.parameters)->PlannedBits(kRows, kCols);
    EXPECT_EQ(8.0 * static_cast<double>(result.weight->StoredBytes()), planned) << overrides;
  }
}

TEST_F(BinaryCodedTest, ImpossibleRecipesAreRefused) {
  const auto refused = [](const Json& overrides) { return MakeRecipe("gptqt", overrides, {}).status(); };
  EXPECT_THAT(refused({{"bits", 3}, {"linear_bits", 2}}), FailsWith("RECIPE_ILLEGAL_COMBINATION", "linear step"));
  EXPECT_THAT(refused({{"linear_bits", 9}}), FailsWith("RECIPE_PARAMETER_OUT_OF_RANGE", "linear_bits"));
  EXPECT_THAT(refused({{"bits", 5}}), FailsWith("RECIPE_ILLEGAL_COMBINATION", "1 to 4 planes"));
  EXPECT_THAT(refused({{"codebooks", "all"}, {"linear_bits", 7}, {"bits", 3}}),
              FailsWith("RECIPE_ILLEGAL_COMBINATION", "codebooks=spanning"));
  EXPECT_OK(refused({{"bits", 4}, {"linear_bits", 8}, {"codebooks", "spanning"}}));
}

}  // namespace
}  // namespace quantd
