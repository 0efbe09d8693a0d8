// Packed two-level weights of a hostile artifact: every field and tensor broken once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/two_level_weight.h"
#include "tests/core/quant/packed_weight_parts.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// A valid weight of 5 x 20: 3 bits, three groups, two tiles, the last one shorter, four outliers.
TwoLevelWeight ValidWeight() {
  const TwoLevelLayout layout{.rows = 5,
                              .cols = 20,
                              .bits = 3,
                              .group_size = 8,
                              .tile_rows = 4,
                              .scales = TwoLevelStorage::kTiled,
                              .zeros = TwoLevelStorage::kTiled,
                              .scale_bits = 3,
                              .zero_bits = 2,
                              .scale_dtype = Dtype::kF32,
                              .outlier_dtype = Dtype::kF32,
                              .outliers = 4,
                              .has_group_index = true};
  TwoLevelTensors parts;
  parts.codes.resize(5 * 8);
  parts.scales.codes.resize(5 * 2);
  parts.scales.levels.assign(2 * 3, {0.5f, -1.0f});
  parts.zeros.codes.resize(5 * 1);
  parts.zeros.levels.assign(2 * 3, {0.25f, -2.0f});
  for (int32_t c = 0; c < layout.cols; ++c) parts.group_index.push_back(c % 3);
  parts.outlier_counts = {0, 2, 0, 0, 2};
  parts.outlier_columns = {3, 19, 0, 1};
  parts.outlier_values = {1, 2, 3, 4};
  return TwoLevelWeight(layout, std::move(parts));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// clang-format off
constexpr BrokenPart kBrokenParts[] = {
    {"DescriptionIsAList", [](PackedWeightParts& p) { p.description = Json::array(); }, "its description is not an object"},
    {"NoBits", [](PackedWeightParts& p) { p.description.erase("bits"); }, "'bits' is missing"},
    {"BitsZero", [](PackedWeightParts& p) { p.Set("bits", 0); }, "bits 0 is outside 1..8"},
    {"BitsNine", [](PackedWeightParts& p) { p.Set("bits", 9); }, "is outside 1..8"},
    {"BitsWrapAround32Bits", [](PackedWeightParts& p) { p.Set("bits", (int64_t{1} << 32) + 3); }, "is outside 1..8"},
    {"BitsOfAnotherWidth", [](PackedWeightParts& p) { p.Set("bits", 4); }, "'codes' is U8 [5, 8] of 40 bytes, not U8 [5, 10] of 50"},
    {"GroupSizeZero", [](PackedWeightParts& p) { p.Set("group_size", 0); }, "group_size 0 is outside 1..20"},
    {"GroupSizeAboveTheInputs", [](PackedWeightParts& p) { p.Set("group_size", 21); }, "group_size 21 is outside 1..20"},
    {"GroupSizeOf2To62", [](PackedWeightParts& p) { p.Set("group_size", int64_t{1} << 62); }, "is outside 1..20"},
    {"GroupSizeOfMoreGroups", [](PackedWeightParts& p) { p.Set("group_size", 4); }, "'scale_levels' is F32 [2, 3, 2]"},
    {"TileRowsZero", [](PackedWeightParts& p) { p.Set("tile_rows", 0); }, "tile_rows 0 is outside"},
    {"TileRowsNegative", [](PackedWeightParts& p) { p.Set("tile_rows", -16); }, "tile_rows -16 is outside"},
    {"TileRowsOf2To62", [](PackedWeightParts& p) { p.Set("tile_rows", int64_t{1} << 62); }, "is outside"},
    {"TileRowsOfMoreTiles", [](PackedWeightParts& p) { p.Set("tile_rows", 1); }, "'scale_levels' is F32 [2, 3, 2]"},
    {"ScalesWhole", [](PackedWeightParts& p) { p.Set("scales", "whole"); }, "scales are neither plain nor tiled"},
    {"ScalesNone", [](PackedWeightParts& p) { p.Set("scales", "none"); }, "scales are neither plain nor tiled"},
    {"ScalesUnknown", [](PackedWeightParts& p) { p.Set("scales", "hidden"); }, "'scales' is no known way"},
    {"ScalesPlainButTiled", [](PackedWeightParts& p) { p.Set("scales", "plain"); }, "'scales' is missing"},
    {"ScaleBitsZero", [](PackedWeightParts& p) { p.Set("scale_bits", 0); }, "scale_bits 0 is outside 1..8"},
    {"ScaleBitsNegative", [](PackedWeightParts& p) { p.Set("scale_bits", -3); }, "is outside 1..8"},
    {"ScaleBitsWide", [](PackedWeightParts& p) { p.Set("scale_bits", 8); }, "'scale_codes' is U8 [5, 2]"},
    {"ZerosANumber", [](PackedWeightParts& p) { p.Set("zeros", 1); }, "'zeros' must be a string"},
    {"ZerosNoneButStored", [](PackedWeightParts& p) { p.Set("zeros", "none"); }, "'zero_codes' does not belong"},
    {"ZerosWholeButTiled", [](PackedWeightParts& p) { p.Set("zeros", "whole"); }, "'zeros' is missing"},
    {"ZeroBitsMissing", [](PackedWeightParts& p) { p.description.erase("zero_bits"); }, "'zero_bits' is missing"},
    {"ScaleTypeUnknown", [](PackedWeightParts& p) { p.Set("scale_dtype", "F31"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfIntegers", [](PackedWeightParts& p) { p.Set("scale_dtype", "I32"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfAnotherTensor", [](PackedWeightParts& p) { p.Set("scale_dtype", "F16"); }, "'scale_levels' is F32"},
    {"OutlierTypeOfAnotherTensor", [](PackedWeightParts& p) { p.Set("outlier_dtype", "F16"); }, "'outlier_values' is F32"},
    {"OutliersNegative", [](PackedWeightParts& p) { p.Set("outliers", -1); }, "outliers -1 is outside 0..100"},
    {"OutliersMoreThanWeights", [](PackedWeightParts& p) { p.Set("outliers", 101); }, "outliers 101 is outside 0..100"},
    {"OutliersNone", [](PackedWeightParts& p) { p.Set("outliers", 0); }, "'outlier_counts' does not belong"},
    {"OutliersMoreThanStored", [](PackedWeightParts& p) { p.Set("outliers", 5); }, "'outlier_columns' is U16 [4] of 8 bytes, not U16 [5]"},
    {"OutliersAFraction", [](PackedWeightParts& p) { p.Set("outliers", 4.5); }, "'outliers' must be an integer"},
    {"GroupIndexIsANumber", [](PackedWeightParts& p) { p.Set("group_index", 1); }, "'group_index' must be true or false"},
    {"GroupIndexNotDescribed", [](PackedWeightParts& p) { p.Set("group_index", false); }, "'group_index' does not belong"},
    // The shape that the manifest gives.
    {"NoRows", [](PackedWeightParts& p) { p.rows = 0; }, "shape [0, 20] is outside"},
    {"RowsAboveTheLimit", [](PackedWeightParts& p) { p.rows = (int64_t{1} << 30) + 1; }, "is outside 1..2^30"},
    {"HugeShape", [](PackedWeightParts& p) { p.rows = p.cols = int64_t{1} << 30; }, "'codes' is U8 [5, 8]"},
    // The tensors.
    {"NoTensors", [](PackedWeightParts& p) { p.tensors.clear(); }, "'codes' is missing"},
    {"NoScaleLevels", [](PackedWeightParts& p) { p.Remove("scale_levels"); }, "'scale_levels' is missing"},
    {"NoZeroCodes", [](PackedWeightParts& p) { p.Remove("zero_codes"); }, "'zero_codes' is missing"},
    {"NoGroupIndex", [](PackedWeightParts& p) { p.Remove("group_index"); }, "'group_index' is missing"},
    {"NoOutlierCounts", [](PackedWeightParts& p) { p.Remove("outlier_counts"); }, "'outlier_counts' is missing"},
    {"NoOutlierValues", [](PackedWeightParts& p) { p.Remove("outlier_values"); }, "'outlier_values' is missing"},
    {"TensorTwice", [](PackedWeightParts& p) { p.tensors.push_back(p.Tensor("codes")); }, "'codes' does not belong"},
    {"CodesCutOff", [](PackedWeightParts& p) { p.Tensor("codes").bytes.pop_back(); }, "of 39 bytes"},
    {"CodesOfI8", [](PackedWeightParts& p) { p.Tensor("codes").dtype = Dtype::kI8; }, "'codes' is I8"},
    {"BitsBehindTheLastCode", [](PackedWeightParts& p) { p.Tensor("codes").bytes[3 * 8 + 7] = 0x10; }, "'codes' has bits set after the last code of row 3"},
    {"BitsBehindTheLastScale", [](PackedWeightParts& p) { p.Tensor("scale_codes").bytes[1] = 0x02; }, "'scale_codes' has bits set"},
    {"BitsBehindTheLastZero", [](PackedWeightParts& p) { p.Tensor("zero_codes").bytes[4] = 0x40; }, "'zero_codes' has bits set after the last code of row 4"},
    {"StepNan", [](PackedWeightParts& p) { p.Put<float>("scale_levels", 0, NAN); }, "'scale_levels' is nan at element 0"},
    {"OffsetInfinite", [](PackedWeightParts& p) { p.Put<float>("zero_levels", 11, -kInfinity); }, "'zero_levels' is -inf at element 11"},
    {"ScaleWhoseMultipleIsInfinite", [](PackedWeightParts& p) { p.Put<float>("scale_levels", 0, 1e38f); }, "the scale of row 0, group 0 is 1e+38"},
    {"ZeroThatOverflows", [](PackedWeightParts& p) { p.Put<float>("zero_levels", 8, 3e38f); }, "row 4, group 1"},
    {"GroupAboveTheLast", [](PackedWeightParts& p) { p.Tensor("group_index").bytes[7] = 3; }, "'group_index' is 3 at input 7; there are 3 groups"},
    {"GroupIndexOfI32", [](PackedWeightParts& p) { p.Tensor("group_index").dtype = Dtype::kI32; }, "'group_index' is I32"},
    {"CountAboveTheRest", [](PackedWeightParts& p) { p.Put<uint16_t>("outlier_counts", 4, 3); }, "'outlier_counts' is 3 at row 4; 2 outliers are left"},
    {"CountOf65535", [](PackedWeightParts& p) { p.Put<uint16_t>("outlier_counts", 0, 65535); }, "'outlier_counts' is 65535 at row 0"},
    {"CountsBelowTheOutliers", [](PackedWeightParts& p) { p.Put<uint16_t>("outlier_counts", 4, 1); }, "adds up to 3; there are 4 outliers"},
    {"ColumnBeyondTheRow", [](PackedWeightParts& p) { p.Put<uint16_t>("outlier_columns", 1, 20); }, "'outlier_columns' is 20 at element 1, row 1"},
    {"ColumnTwice", [](PackedWeightParts& p) { p.Put<uint16_t>("outlier_columns", 1, 3); }, "'outlier_columns' is 3 at element 1, row 1"},
    {"ColumnsFall", [](PackedWeightParts& p) { p.Put<uint16_t>("outlier_columns", 2, 2); }, "'outlier_columns' is 1 at element 3, row 4"},
    {"OutlierNan", [](PackedWeightParts& p) { p.Put<float>("outlier_values", 2, NAN); }, "'outlier_values' is nan at element 2"},
    {"OutlierInfinite", [](PackedWeightParts& p) { p.Put<float>("outlier_values", 3, kInfinity); }, "'outlier_values' is inf"},
};
// clang-format on

class BadTwoLevelTest : public testing::TestWithParam<BrokenPart> {};

TEST_P(BadTwoLevelTest, IsRefusedByItsField) {
  ExpectRefusedByItsField(PackedWeightParts(ValidWeight()), GetParam());
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadTwoLevelTest, testing::ValuesIn(kBrokenParts),
                         [](const auto& row) { return row.param.name; });

TEST(TwoLevelWeightTest, OutliersReplaceWhatTheirCodesSay) {
  const TwoLevelWeight weight = ValidWeight();
  const Matrix decoded = weight.Decode();
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t c = 0; c < 20; ++c) {
      const bool first = r == 1 && (c == 3 || c == 19), second = r == 4 && c < 2;
      // Scale 0.5 * (0 + 1), zero 0.25 * (0 + 2).
      const float code_says = 0.5f * (0 - 0.5f);
      const float value = first ? (c == 3 ? 1.0f : 2.0f) : second ? static_cast<float>(3 + c) : code_says;
      EXPECT_EQ(decoded.at(r, c), value) << r << " " << c;
    }
  }
}

// The example of docs/formats/packed_weights.md.
TEST(TwoLevelWeightTest, DocumentedExampleDecodes) {
  const auto bytes = [](std::initializer_list<int> values) { return std::string(values.begin(), values.end()); };
  const Json description = {
      {"bits", 2},        {"group_size", 8}, {"tile_rows", 16},      {"scales", "plain"},      {"scale_bits", 0},
      {"zeros", "plain"}, {"zero_bits", 0},  {"scale_dtype", "F16"}, {"outlier_dtype", "F16"}, {"outliers", 1}};
  const std::vector<StoredTensor> tensors = {
      {"codes", Dtype::kU8, {1, 2}, bytes({0xe4, 0x17})},   {"scales", Dtype::kF16, {1, 1}, bytes({0x00, 0x38})},
      {"zeros", Dtype::kF16, {1, 1}, bytes({0x00, 0x3c})},  {"outlier_counts", Dtype::kU16, {1}, bytes({1, 0})},
      {"outlier_columns", Dtype::kU16, {1}, bytes({5, 0})}, {"outlier_values", Dtype::kF16, {1}, bytes({0x00, 0x41})}};
  ASSERT_OK_AND_ASSIGN(const auto weight, QuantizedWeightFromTensors("two_level", description, tensors, 1, 8, kWhat));
  const Matrix decoded = weight->Decode();
  const std::vector<float> expected = {-0.5f, 0, 0.5f, 1, 1, 2.5f, 0, -0.5f};
  EXPECT_EQ(std::vector<float>(decoded.data(), decoded.data() + 8), expected);
  const SecondLevel level = {0.25f, -1};
  EXPECT_EQ(level.Value(0), 0.25f);
  EXPECT_EQ(level.Value(1), 0.5f);
  EXPECT_EQ(level.Value(7), 2.0f);
}

}  // namespace
}  // namespace quantd
