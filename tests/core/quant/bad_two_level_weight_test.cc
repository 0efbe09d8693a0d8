// Packed two-level weights of a hostile artifact: every field and tensor broken once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/two_level_weight.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kWhat[] = "models/a: site 'model.layers.0.mlp.up_proj'";

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

struct Packed {
  Packed() : description(ValidWeight().Description()), tensors(ValidWeight().ToTensors()) {}

  StoredTensor& Tensor(const std::string& suffix) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.suffix == suffix; });
  }
  void Remove(const std::string& suffix) { tensors.erase(tensors.begin() + (&Tensor(suffix) - tensors.data())); }
  void Set(const char* key, const Json& value) { description[key] = value; }
  void PutFloat(const char* suffix, int64_t index, float value) {
    std::memcpy(&Tensor(suffix).bytes[4 * index], &value, 4);
  }
  void PutU16(const char* suffix, int64_t index, uint16_t value) {
    std::memcpy(&Tensor(suffix).bytes[2 * index], &value, 2);
  }
  absl::StatusOr<std::unique_ptr<QuantizedWeight>> Read() const {
    return QuantizedWeightFromTensors("two_level", description, tensors, rows, cols, kWhat);
  }

  Json description;
  std::vector<StoredTensor> tensors;
  int64_t rows = 5;
  int64_t cols = 20;
};

struct BadPacked {
  const char* name;
  void (*damage)(Packed& packed);
  const char* mentions;
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// clang-format off
constexpr BadPacked kBadPacked[] = {
    {"DescriptionIsAList", [](Packed& p) { p.description = Json::array(); }, "its description is not an object"},
    {"NoBits", [](Packed& p) { p.description.erase("bits"); }, "'bits' is missing"},
    {"BitsZero", [](Packed& p) { p.Set("bits", 0); }, "bits 0 is outside 1..8"},
    {"BitsNine", [](Packed& p) { p.Set("bits", 9); }, "is outside 1..8"},
    {"BitsWrapAround32Bits", [](Packed& p) { p.Set("bits", (int64_t{1} << 32) + 3); }, "is outside 1..8"},
    {"BitsOfAnotherWidth", [](Packed& p) { p.Set("bits", 4); }, "'codes' is U8 [5, 8] of 40 bytes, not U8 [5, 10] of 50"},
    {"GroupSizeZero", [](Packed& p) { p.Set("group_size", 0); }, "group_size 0 is outside 1..20"},
    {"GroupSizeAboveTheInputs", [](Packed& p) { p.Set("group_size", 21); }, "group_size 21 is outside 1..20"},
    {"GroupSizeOf2To62", [](Packed& p) { p.Set("group_size", int64_t{1} << 62); }, "is outside 1..20"},
    {"GroupSizeOfMoreGroups", [](Packed& p) { p.Set("group_size", 4); }, "'scale_levels' is F32 [2, 3, 2]"},
    {"TileRowsZero", [](Packed& p) { p.Set("tile_rows", 0); }, "tile_rows 0 is outside"},
    {"TileRowsNegative", [](Packed& p) { p.Set("tile_rows", -16); }, "tile_rows -16 is outside"},
    {"TileRowsOf2To62", [](Packed& p) { p.Set("tile_rows", int64_t{1} << 62); }, "is outside"},
    {"TileRowsOfMoreTiles", [](Packed& p) { p.Set("tile_rows", 1); }, "'scale_levels' is F32 [2, 3, 2]"},
    {"ScalesWhole", [](Packed& p) { p.Set("scales", "whole"); }, "scales are neither plain nor tiled"},
    {"ScalesNone", [](Packed& p) { p.Set("scales", "none"); }, "scales are neither plain nor tiled"},
    {"ScalesUnknown", [](Packed& p) { p.Set("scales", "hidden"); }, "'scales' is no known way"},
    {"ScalesPlainButTiled", [](Packed& p) { p.Set("scales", "plain"); }, "'scales' is missing"},
    {"ScaleBitsZero", [](Packed& p) { p.Set("scale_bits", 0); }, "scale_bits 0 is outside 1..8"},
    {"ScaleBitsNegative", [](Packed& p) { p.Set("scale_bits", -3); }, "is outside 1..8"},
    {"ScaleBitsWide", [](Packed& p) { p.Set("scale_bits", 8); }, "'scale_codes' is U8 [5, 2]"},
    {"ZerosANumber", [](Packed& p) { p.Set("zeros", 1); }, "'zeros' must be a string"},
    {"ZerosNoneButStored", [](Packed& p) { p.Set("zeros", "none"); }, "'zero_codes' does not belong"},
    {"ZerosWholeButTiled", [](Packed& p) { p.Set("zeros", "whole"); }, "'zeros' is missing"},
    {"ZeroBitsMissing", [](Packed& p) { p.description.erase("zero_bits"); }, "'zero_bits' is missing"},
    {"ScaleTypeUnknown", [](Packed& p) { p.Set("scale_dtype", "F31"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfIntegers", [](Packed& p) { p.Set("scale_dtype", "I32"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfAnotherTensor", [](Packed& p) { p.Set("scale_dtype", "F16"); }, "'scale_levels' is F32"},
    {"OutlierTypeOfAnotherTensor", [](Packed& p) { p.Set("outlier_dtype", "F16"); }, "'outlier_values' is F32"},
    {"OutliersNegative", [](Packed& p) { p.Set("outliers", -1); }, "outliers -1 is outside 0..100"},
    {"OutliersMoreThanWeights", [](Packed& p) { p.Set("outliers", 101); }, "outliers 101 is outside 0..100"},
    {"OutliersNone", [](Packed& p) { p.Set("outliers", 0); }, "'outlier_counts' does not belong"},
    {"OutliersMoreThanStored", [](Packed& p) { p.Set("outliers", 5); }, "'outlier_columns' is U16 [4] of 8 bytes, not U16 [5]"},
    {"OutliersAFraction", [](Packed& p) { p.Set("outliers", 4.5); }, "'outliers' must be an integer"},
    {"GroupIndexIsANumber", [](Packed& p) { p.Set("group_index", 1); }, "'group_index' must be true or false"},
    {"GroupIndexNotDescribed", [](Packed& p) { p.Set("group_index", false); }, "'group_index' does not belong"},
    // The shape that the manifest gives.
    {"NoRows", [](Packed& p) { p.rows = 0; }, "shape [0, 20] is outside"},
    {"RowsAboveTheLimit", [](Packed& p) { p.rows = (int64_t{1} << 30) + 1; }, "is outside 1..2^30"},
    {"HugeShape", [](Packed& p) { p.rows = p.cols = int64_t{1} << 30; }, "'codes' is U8 [5, 8]"},
    // The tensors.
    {"NoTensors", [](Packed& p) { p.tensors.clear(); }, "'codes' is missing"},
    {"NoScaleLevels", [](Packed& p) { p.Remove("scale_levels"); }, "'scale_levels' is missing"},
    {"NoZeroCodes", [](Packed& p) { p.Remove("zero_codes"); }, "'zero_codes' is missing"},
    {"NoGroupIndex", [](Packed& p) { p.Remove("group_index"); }, "'group_index' is missing"},
    {"NoOutlierCounts", [](Packed& p) { p.Remove("outlier_counts"); }, "'outlier_counts' is missing"},
    {"NoOutlierValues", [](Packed& p) { p.Remove("outlier_values"); }, "'outlier_values' is missing"},
    {"TensorTwice", [](Packed& p) { p.tensors.push_back(p.Tensor("codes")); }, "'codes' does not belong"},
    {"CodesCutOff", [](Packed& p) { p.Tensor("codes").bytes.pop_back(); }, "of 39 bytes"},
    {"CodesOfI8", [](Packed& p) { p.Tensor("codes").dtype = Dtype::kI8; }, "'codes' is I8"},
    {"BitsBehindTheLastCode", [](Packed& p) { p.Tensor("codes").bytes[3 * 8 + 7] = 0x10; }, "'codes' has bits set after the last code of row 3"},
    {"BitsBehindTheLastScale", [](Packed& p) { p.Tensor("scale_codes").bytes[1] = 0x02; }, "'scale_codes' has bits set"},
    {"BitsBehindTheLastZero", [](Packed& p) { p.Tensor("zero_codes").bytes[4] = 0x40; }, "'zero_codes' has bits set after the last code of row 4"},
    {"StepNan", [](Packed& p) { p.PutFloat("scale_levels", 0, NAN); }, "'scale_levels' is nan at element 0"},
    {"OffsetInfinite", [](Packed& p) { p.PutFloat("zero_levels", 11, -kInfinity); }, "'zero_levels' is -inf at element 11"},
    {"ScaleWhoseMultipleIsInfinite", [](Packed& p) { p.PutFloat("scale_levels", 0, 1e38f); }, "the scale of row 0, group 0 is 1e+38"},
    {"ZeroThatOverflows", [](Packed& p) { p.PutFloat("zero_levels", 8, 3e38f); }, "row 4, group 1"},
    {"GroupAboveTheLast", [](Packed& p) { p.Tensor("group_index").bytes[7] = 3; }, "'group_index' is 3 at input 7; there are 3 groups"},
    {"GroupIndexOfI32", [](Packed& p) { p.Tensor("group_index").dtype = Dtype::kI32; }, "'group_index' is I32"},
    {"CountAboveTheRest", [](Packed& p) { p.PutU16("outlier_counts", 4, 3); }, "'outlier_counts' is 3 at row 4; 2 outliers are left"},
    {"CountOf65535", [](Packed& p) { p.PutU16("outlier_counts", 0, 65535); }, "'outlier_counts' is 65535 at row 0"},
    {"CountsBelowTheOutliers", [](Packed& p) { p.PutU16("outlier_counts", 4, 1); }, "adds up to 3; there are 4 outliers"},
    {"ColumnBeyondTheRow", [](Packed& p) { p.PutU16("outlier_columns", 1, 20); }, "'outlier_columns' is 20 at element 1, row 1"},
    {"ColumnTwice", [](Packed& p) { p.PutU16("outlier_columns", 1, 3); }, "'outlier_columns' is 3 at element 1, row 1"},
    {"ColumnsFall", [](Packed& p) { p.PutU16("outlier_columns", 2, 2); }, "'outlier_columns' is 1 at element 3, row 4"},
    {"OutlierNan", [](Packed& p) { p.PutFloat("outlier_values", 2, NAN); }, "'outlier_values' is nan at element 2"},
    {"OutlierInfinite", [](Packed& p) { p.PutFloat("outlier_values", 3, kInfinity); }, "'outlier_values' is inf"},
};
// clang-format on

class BadTwoLevelTest : public testing::TestWithParam<BadPacked> {};

TEST_P(BadTwoLevelTest, IsRefusedByItsField) {
  Packed packed;
  EXPECT_OK(packed.Read());
  GetParam().damage(packed);
  const auto weight = packed.Read();
  EXPECT_THAT(weight, FailsWith("ARTIFACT_MALFORMED", GetParam().mentions));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_MALFORMED", kWhat));
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadTwoLevelTest, testing::ValuesIn(kBadPacked),
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
