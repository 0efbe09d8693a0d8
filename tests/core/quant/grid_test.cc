// What must hold of every grid in the registry, under many legal settings of the parameters its row names. A new row is
// tested at once.
#include "core/quant/grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/quant/parameter_table.h"
#include "core/quant/solver.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// Values that a parameter takes in these tests, the usual one first.
std::vector<Json> ValuesOf(const ParameterInfo& info) {
  static const std::map<std::string, std::vector<Json>> kNumbers = {
      {"bits", {4, 1, 2, 3, 5, 6, 7, 8}},
      {"group_size", {16, -1, 1, 3}},
      {"scale_bits", {3, 0, 1, 8}},
      {"zero_bits", {3, 0, 2, 8}},
      {"tile_rows", {16, 1, 50}},
      {"outlier_threshold", {0.2, 1e-3, 5}},
      {"binary_block_size", {8, 128, 1}},
      {"linear_bits", {0, 6}},
      {"scale_points", {3, 1}},
      {"scale_from", {0.3, 1}},
      {"scale_to", {1.1, 8}},
      {"roundings", {1, 2}},
      {"bcq_rounds", {3, 0}},
  };
  if (const auto numbers = kNumbers.find(info.name); numbers != kNumbers.end()) return numbers->second;
  if (info.type == ParameterType::kBool) return {info.default_value, info.default_value == "true" ? "false" : "true"};
  return std::vector<Json>(info.choices.begin(), info.choices.end());
}

struct Setting {
  Json overrides;
  int unusual = 0;  // parameters that have not their usual value
};

// All combinations would be thousands; all pairs of unusual values find what goes wrong between two parameters.
constexpr int kMostUnusual = 2;

std::vector<Setting> WithValuesOf(const ParameterInfo& info, const std::vector<Setting>& settings) {
  std::vector<Setting> longer;
  const std::vector<Json> values = ValuesOf(info);
  for (const Setting& setting : settings) {
    for (const Json& value : values) {
      const int unusual = setting.unusual + (value == values.front() ? 0 : 1);
      if (unusual > kMostUnusual) continue;
      longer.push_back({setting.overrides, unusual});
      longer.back().overrides[info.name] = value;
    }
  }
  return longer;
}

// Legal settings of what the grid's row says it reads.
std::vector<Json> SettingsOf(const GridChoice& choice) {
  std::vector<Setting> settings = {{Json{{"grid", choice.info.name}}}};
  for (const char* name : choice.info.parameters) settings = WithValuesOf(*FindParameter(name), settings);
  std::vector<Json> legal;
  for (const Setting& setting : settings) {
    const absl::Status status = MakeRecipe("rtn", setting.overrides, {}).status();
    if (status.ok()) legal.push_back(setting.overrides);
    EXPECT_TRUE(status.ok() || ReasonOf(status) == "RECIPE_ILLEGAL_COMBINATION") << status;
  }
  return legal;
}

struct SpecialWeight {
  const char* name;
  float (*at)(int64_t row, int64_t col, float random);
};
constexpr SpecialWeight kSpecialWeights[] = {
    {"Random", [](int64_t /*row*/, int64_t /*col*/, float random) { return random; }},
    {"Zero", [](int64_t /*row*/, int64_t /*col*/, float /*random*/) { return 0.0f; }},
    {"MinusZero", [](int64_t /*row*/, int64_t /*col*/, float /*random*/) { return -0.0f; }},
    {"AllEqual", [](int64_t /*row*/, int64_t /*col*/, float /*random*/) { return 0.37f; }},
    {"AllEqualNegative", [](int64_t /*row*/, int64_t /*col*/, float /*random*/) { return -0.37f; }},
    {"SingleOutlier", [](int64_t row, int64_t col, float random) { return col == row % 7 ? 900.0f : random; }},
    {"OneValueAmongZeros", [](int64_t row, int64_t col, float random) { return col == row % 7 ? random : 0.0f; }},
    {"Positive", [](int64_t /*row*/, int64_t /*col*/, float random) { return std::abs(random) + 0.1f; }},
    {"Tiny", [](int64_t /*row*/, int64_t /*col*/, float random) { return 1e-12f * random; }},
    {"Denormal", [](int64_t /*row*/, int64_t /*col*/, float random) { return 1e-40f * random; }},
    {"Large", [](int64_t /*row*/, int64_t /*col*/, float random) { return 3e4f * random; }},
};

Matrix Make(const SpecialWeight& special, int64_t rows, int64_t cols) {
  Matrix weight = RandomMatrix(rows, cols, 31);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) weight.at(r, c) = special.at(r, c, weight.at(r, c));
  }
  return weight;
}

bool SameBits(float a, float b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

class GridTest : public testing::Test {
 protected:
  // Rows fill one slab of the solvers and begin another; columns are not a multiple of any group but 1 and 3.
  static constexpr int64_t kRows = kSlabRows + 3;
  static constexpr int64_t kCols = 21;

  template <typename Check>
  void ForAll(const Check& check) {
    for (const GridChoice& choice : GridChoices()) {
      const std::vector<Json> settings = SettingsOf(choice);
      ASSERT_GE(settings.size(), choice.info.parameters.size()) << choice.info.name;
      for (const Json& setting : settings) {
        for (const SpecialWeight& special : kSpecialWeights) {
          SCOPED_TRACE(absl::StrCat(setting.dump(), " ", special.name));
          check(setting, special);
          if (HasFailure()) return;
        }
      }
    }
  }

  const std::unique_ptr<ExecutionContext> context_ = TestContext();
};

struct Rounded {
  std::unique_ptr<Grid> grid;
  Solution solution;
  std::unique_ptr<QuantizedWeight> weight;
};

Rounded Round(const ExecutionContext& context, const Json& setting, const Matrix& weight) {
  const SitePlan plan = TestPlan("rtn", setting, weight.rows(), weight.cols());
  std::unique_ptr<Grid> grid = MakeGrid(plan.parameters);
  Solution solution = MakeSolver(plan.parameters)->Solve(context, *grid, weight.view(), Matrix()).value();
  auto packed = grid->Assemble(context, {solution.codes, solution.values, solution.fits, solution.fit_of_column});
  return {std::move(grid), std::move(solution), std::move(packed)};
}

TEST_F(GridTest, PackedCodesDecodeToWhatTheSolverSawBitForBit) {
  ForAll([&](const Json& setting, const SpecialWeight& special) {
    const Matrix weight = Make(special, kRows, kCols);
    const Rounded rounded = Round(*context_, setting, weight);
    const Matrix decoded = rounded.weight->Decode();
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kCols; ++c) {
        ASSERT_TRUE(std::isfinite(decoded.at(r, c))) << r << " " << c;
        ASSERT_TRUE(SameBits(decoded.at(r, c), rounded.solution.values.at(r, c)))
            << r << " " << c << ": " << decoded.at(r, c) << " " << rounded.solution.values.at(r, c);
      }
    }
  });
}

TEST_F(GridTest, NearestOfADecodedValueIsThatValue) {
  ForAll([&](const Json& setting, const SpecialWeight& special) {
    const Rounded rounded = Round(*context_, setting, Make(special, kRows, kCols));
    // Grids that code columns together are asked for the very values that were fitted.
    if (rounded.grid->compensation() == Compensation::kBlock) return;
    const WeightSlabs& values = rounded.solution.values;
    const int64_t group = rounded.grid->columns_per_fit(kCols);
    for (int64_t slab = 0; slab < values.slabs(); ++slab) {
      for (int64_t c = 0; c < kCols; ++c) {
        float again[kSlabRows];
        Code codes[kSlabRows];
        rounded.solution.fits[rounded.solution.fit_of_column[c]]->Nearest(c % group, slab, values.column(slab, c),
                                                                          again, codes);
        for (int64_t r = 0; r < values.rows_in(slab); ++r) {
          ASSERT_TRUE(SameBits(again[r], values.column(slab, c)[r])) << slab << " " << c << " " << r;
        }
      }
    }
  });
}

TEST_F(GridTest, ZeroStaysZeroInAWeightOfZeros) {
  for (const GridChoice& choice : GridChoices()) {
    for (const Json& setting : SettingsOf(choice)) {
      if (setting.value("equal_values", "") == "authors") continue;  // gives equal values the range [-1, 1]
      const Rounded rounded = Round(*context_, setting, Matrix(kRows, kCols));
      const Matrix decoded = rounded.weight->Decode();
      for (float value : decoded.span()) ASSERT_EQ(value, 0) << setting;
    }
  }
}

TEST_F(GridTest, OneByOneWeightWorks) {
  for (const GridChoice& choice : GridChoices()) {
    for (const Json& setting : SettingsOf(choice)) {
      Matrix weight(1, 1);
      weight.at(0, 0) = -0.7f;
      EXPECT_TRUE(std::isfinite(Round(*context_, setting, weight).weight->Decode().at(0, 0))) << setting;
    }
  }
}

// The reader of a grid gives back the bits, sizes and words of what the grid packed.
TEST_F(GridTest, PackedWeightsSurviveTheirTensors) {
  ForAll([&](const Json& setting, const SpecialWeight& special) {
    const Rounded rounded = Round(*context_, setting, Make(special, kRows, kCols));
    const QuantizedWeight& before = *rounded.weight;
    ASSERT_OK_AND_ASSIGN(const auto after,
                         QuantizedWeightFromTensors(before.kind(), before.Description(), before.ToTensors(),
                                                    before.rows(), before.cols(), "test"));
    ASSERT_EQ(after->Description(), before.Description());
    ASSERT_EQ(after->Summary(), before.Summary());
    ASSERT_EQ(after->StoredBytes(), before.StoredBytes());
    const Matrix decoded = after->Decode();
    ASSERT_EQ(std::memcmp(decoded.data(), before.Decode().data(), decoded.size() * sizeof(float)), 0);
  });
}

TEST_F(GridTest, FirstAndLastRowsDecodeAlone) {
  for (const GridChoice& choice : GridChoices()) {
    for (const Json& setting : SettingsOf(choice)) {
      const Rounded rounded = Round(*context_, setting, RandomMatrix(kRows, kCols, 32));
      const Matrix whole = rounded.weight->Decode();
      Matrix part(2, kCols);
      for (int64_t first : {int64_t{0}, kRows - 2}) {
        rounded.weight->DecodeRows(first, part.view());
        ASSERT_EQ(std::memcmp(part.data(), whole.row(first), part.size() * sizeof(float)), 0) << setting;
      }
    }
  }
}

}  // namespace
}  // namespace quantd
