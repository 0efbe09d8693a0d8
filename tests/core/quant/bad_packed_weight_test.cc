// Packed weights of a hostile artifact: every field and tensor broken once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/uniform_weight.h"
#include "tests/core/quant/packed_weight_parts.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// A valid weight of 5 x 20: 3 bits, so that a row's codes end in 4 spare bits; three groups, whose zeros end in 7.
UniformWeight ValidWeight() {
  const UniformLayout layout{.rows = 5,
                             .cols = 20,
                             .bits = 3,
                             .group_size = 8,
                             .symmetric = false,
                             .per_row = true,
                             .scale_dtype = Dtype::kF32,
                             .has_group_index = true};
  UniformTensors parts;
  parts.codes.resize(layout.rows * layout.code_row_bytes());
  parts.zeros.resize(layout.rows * layout.zero_row_bytes());
  const std::vector<float> scales(layout.rows * layout.groups(), 0.5f);
  parts.scales.assign(reinterpret_cast<const char*>(scales.data()), scales.size() * sizeof(float));
  for (int32_t c = 0; c < layout.cols; ++c) parts.group_index.push_back(c % 3);
  return UniformWeight(layout, std::move(parts));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// clang-format off
const BrokenPart kBrokenParts[] = {
    // The description.
    {"DescriptionIsAList", [](PackedWeightParts& p) { p.description = Json::array(); }, "its description is not an object"},
    {"NoBits", [](PackedWeightParts& p) { p.description.erase("bits"); }, "'bits' is missing"},
    {"BitsZero", [](PackedWeightParts& p) { p.Set("bits", 0); }, "bits is 0, not 1..8"},
    {"BitsNine", [](PackedWeightParts& p) { p.Set("bits", 9); }, "not 1..8"},
    {"BitsNegative", [](PackedWeightParts& p) { p.Set("bits", -3); }, "not 1..8"},
    {"BitsWrapAround32Bits", [](PackedWeightParts& p) { p.Set("bits", (int64_t{1} << 32) + 3); }, "not 1..8"},
    {"BitsAFraction", [](PackedWeightParts& p) { p.Set("bits", 3.0); }, "'bits' must be an integer"},
    {"BitsOfAnotherWidth", [](PackedWeightParts& p) { p.Set("bits", 4); }, "'codes' is U8 [5, 8] of 40 bytes, not U8 [5, 10] of 50"},
    {"NoGroupSize", [](PackedWeightParts& p) { p.description.erase("group_size"); }, "'group_size' is missing"},
    {"GroupSizeZero", [](PackedWeightParts& p) { p.Set("group_size", 0); }, "group_size 0 is outside 1..20"},
    {"GroupSizeNegative", [](PackedWeightParts& p) { p.Set("group_size", -1); }, "group_size -1 is outside 1..20"},
    {"GroupSizeAboveTheInputs", [](PackedWeightParts& p) { p.Set("group_size", 21); }, "group_size 21 is outside 1..20"},
    {"GroupSizeOf2To62", [](PackedWeightParts& p) { p.Set("group_size", int64_t{1} << 62); }, "is outside 1..20"},
    {"GroupSizeOfMoreGroups", [](PackedWeightParts& p) { p.Set("group_size", 4); }, "'scales' is F32 [5, 3]"},
    {"SymmetricIsANumber", [](PackedWeightParts& p) { p.Set("symmetric", 1); }, "'symmetric' must be true or false"},
    {"PerRowIsAText", [](PackedWeightParts& p) { p.Set("per_row", "true"); }, "'per_row' must be true or false"},
    {"PerRowOff", [](PackedWeightParts& p) { p.Set("per_row", false); }, "'scales' is F32 [5, 3]"},
    {"NoScaleType", [](PackedWeightParts& p) { p.description.erase("scale_dtype"); }, "'scale_dtype' is missing"},
    {"ScaleTypeIsANumber", [](PackedWeightParts& p) { p.Set("scale_dtype", 32); }, "'scale_dtype' must be a string"},
    {"ScaleTypeUnknown", [](PackedWeightParts& p) { p.Set("scale_dtype", "F31"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfIntegers", [](PackedWeightParts& p) { p.Set("scale_dtype", "I32"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfAnotherTensor", [](PackedWeightParts& p) { p.Set("scale_dtype", "F16"); }, "'scales' is F32 [5, 3] of 60 bytes, not F16"},
    // The shape that the manifest gives.
    {"NoRows", [](PackedWeightParts& p) { p.rows = 0; }, "shape [0, 20] is outside"},
    {"NegativeColumns", [](PackedWeightParts& p) { p.cols = -20; }, "shape [5, -20] is outside"},
    {"RowsAboveTheLimit", [](PackedWeightParts& p) { p.rows = (int64_t{1} << 30) + 1; }, "is outside 1..2^30"},
    {"HugeRows", [](PackedWeightParts& p) { p.rows = int64_t{1} << 30; }, "'codes' is U8 [5, 8]"},
    {"MoreColumns", [](PackedWeightParts& p) { p.cols = 24; }, "'codes' is U8 [5, 8] of 40 bytes, not U8 [5, 9]"},
    {"FewerRows", [](PackedWeightParts& p) { p.rows = 4; }, "'codes' is U8 [5, 8]"},
    // The tensors.
    {"NoTensors", [](PackedWeightParts& p) { p.tensors.clear(); }, "'codes' is missing"},
    {"NoScales", [](PackedWeightParts& p) { p.Remove("scales"); }, "'scales' is missing"},
    {"NoZeros", [](PackedWeightParts& p) { p.Remove("zeros"); }, "'zeros' is missing"},
    {"NoGroupIndex", [](PackedWeightParts& p) { p.Remove("group_index"); }, "'group_index' is missing"},
    {"ZerosOfASymmetricGrid", [](PackedWeightParts& p) { p.Set("symmetric", true); }, "'zeros' does not belong"},
    {"GroupIndexNotDescribed", [](PackedWeightParts& p) { p.Set("group_index", false); }, "'group_index' does not belong"},
    {"TensorTwice", [](PackedWeightParts& p) { p.tensors.push_back(p.Tensor("codes")); }, "'codes' does not belong"},
    {"TensorUnknown", [](PackedWeightParts& p) { p.tensors.push_back({"outliers", Dtype::kF32, {0}, ""}); }, "'outliers' does not belong"},
    {"CodesOfI8", [](PackedWeightParts& p) { p.Tensor("codes").dtype = Dtype::kI8; }, "'codes' is I8"},
    {"CodesTransposed", [](PackedWeightParts& p) { p.Tensor("codes").shape = {8, 5}; }, "'codes' is U8 [8, 5]"},
    {"CodesFlat", [](PackedWeightParts& p) { p.Tensor("codes").shape = {40}; }, "'codes' is U8 [40]"},
    {"CodesWithoutShape", [](PackedWeightParts& p) { p.Tensor("codes").shape = {}; }, "'codes' is U8 []"},
    {"CodesCutOff", [](PackedWeightParts& p) { p.Tensor("codes").bytes.pop_back(); }, "of 39 bytes"},
    {"CodesTooLong", [](PackedWeightParts& p) { p.Tensor("codes").bytes.push_back('\0'); }, "of 41 bytes"},
    {"CodesEmpty", [](PackedWeightParts& p) { p.Tensor("codes").bytes.clear(); }, "of 0 bytes"},
    {"BitsBehindTheLastCode", [](PackedWeightParts& p) { p.Tensor("codes").bytes[3 * 8 + 7] = 0x10; }, "'codes' has bits set after the last code of row 3"},
    {"BitsBehindTheLastZero", [](PackedWeightParts& p) { p.Tensor("zeros").bytes[2 * 4 + 1] = 0x02; }, "'zeros' has bits set after the last code of row 4"},
    {"ZerosOfI32", [](PackedWeightParts& p) { p.Tensor("zeros").dtype = Dtype::kI32; }, "'zeros' is I32"},
    {"ScaleZero", [](PackedWeightParts& p) { p.Put<float>("scales", 4, 0); }, "'scales' is 0 at row 1, group 1"},
    {"ScaleNegative", [](PackedWeightParts& p) { p.Put<float>("scales", 14, -1); }, "'scales' is -1 at row 4, group 2"},
    {"ScaleNan", [](PackedWeightParts& p) { p.Put<float>("scales", 0, NAN); }, "'scales' is nan at row 0, group 0"},
    {"ScaleInfinite", [](PackedWeightParts& p) { p.Put<float>("scales", 0, kInfinity); }, "'scales' is inf at row 0, group 0"},
    {"ScaleWhoseMultipleIsInfinite", [](PackedWeightParts& p) { p.Put<float>("scales", 0, 1e38f); }, "'scales' is 1e+38 at row 0, group 0"},
    {"GroupNegative", [](PackedWeightParts& p) { p.Put<int32_t>("group_index", 19, -1); }, "'group_index' is -1 at input 19; there are 3 groups"},
    {"GroupAboveTheLast", [](PackedWeightParts& p) { p.Put<int32_t>("group_index", 0, 3); }, "'group_index' is 3 at input 0"},
    {"GroupAtTheEndOf32Bits", [](PackedWeightParts& p) { p.Put<int32_t>("group_index", 7, std::numeric_limits<int32_t>::min()); }, "at input 7"},
    {"GroupIndexOfI64", [](PackedWeightParts& p) { p.Tensor("group_index").dtype = Dtype::kI64; }, "'group_index' is I64"},
    {"GroupIndexOfRows", [](PackedWeightParts& p) { p.Tensor("group_index").shape = {5}; }, "'group_index' is I32 [5]"},
};
// clang-format on

class BadPackedTest : public testing::TestWithParam<BrokenPart> {};

TEST_P(BadPackedTest, IsRefusedByItsField) {
  ExpectRefusedByItsField(PackedWeightParts(ValidWeight()), GetParam());
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadPackedTest, testing::ValuesIn(kBrokenParts),
                         [](const auto& row) { return row.param.name; });

TEST(PackedWeightTest, LargestCodesAndZerosDecode) {
  PackedWeightParts packed(ValidWeight());
  for (const char* suffix : {"codes", "zeros"}) {
    StoredTensor& tensor = packed.Tensor(suffix);
    const int64_t width = tensor.shape[1];
    for (size_t i = 0; i < tensor.bytes.size(); ++i) {
      const bool last = static_cast<int64_t>(i) % width == width - 1;
      tensor.bytes[i] = static_cast<char>(!last ? 0xff : *suffix == 'c' ? 0x0f : 0x01);
    }
  }
  ASSERT_OK_AND_ASSIGN(const auto weight, packed.Read());
  const Matrix decoded = weight->Decode();
  for (float value : decoded.span()) EXPECT_EQ(value, 0.5f * (7 - 7));
}

TEST(PackedWeightTest, UnknownGridIsRefusedWithTheKnownOnes) {
  const PackedWeightParts packed(ValidWeight());
  const auto weight = QuantizedWeightFromTensors("codebook", packed.description, packed.tensors, 5, 20, kWhat);
  EXPECT_THAT(weight, FailsWith("ARTIFACT_GRID_UNKNOWN", "'codebook'"));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_GRID_UNKNOWN", "uniform"));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_GRID_UNKNOWN", kWhat));
}

}  // namespace
}  // namespace quantd
