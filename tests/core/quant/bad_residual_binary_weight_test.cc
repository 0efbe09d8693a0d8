// Packed residual binary weights of a hostile artifact: every field and tensor broken once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/residual_binary_weight.h"
#include "tests/core/quant/packed_weight_parts.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// A valid weight of 3 x 20 in three blocks, the last one shorter.
ResidualBinaryWeight ValidWeight() {
  const ResidualBinaryLayout layout{
      .rows = 3, .cols = 20, .block_size = 8, .means = true, .scale_dtype = Dtype::kF32, .has_block_index = true};
  ResidualBinaryTensors parts;
  parts.signs.resize(3 * 3);
  parts.second_bits.resize(3 * 3);
  parts.salient = {0x05, 0, 0};
  parts.levels.assign(3 * 3 * kBinaryLevels, 0.5f);
  for (int32_t c = 0; c < layout.cols; ++c) parts.block_index.push_back(c % 3);
  return ResidualBinaryWeight(layout, std::move(parts));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// clang-format off
constexpr BrokenPart kBrokenParts[] = {
    {"DescriptionIsAList", [](PackedWeightParts& p) { p.description = Json::array(); }, "its description is not an object"},
    {"NoBlockSize", [](PackedWeightParts& p) { p.description.erase("block_size"); }, "'block_size' is missing"},
    {"BlockSizeZero", [](PackedWeightParts& p) { p.Set("block_size", 0); }, "block_size 0 is outside 1..20"},
    {"BlockSizeNegative", [](PackedWeightParts& p) { p.Set("block_size", -1); }, "block_size -1 is outside 1..20"},
    {"BlockSizeAboveTheInputs", [](PackedWeightParts& p) { p.Set("block_size", 21); }, "block_size 21 is outside 1..20"},
    {"BlockSizeOf2To62", [](PackedWeightParts& p) { p.Set("block_size", int64_t{1} << 62); }, "is outside 1..20"},
    {"BlockSizeOfMoreBlocks", [](PackedWeightParts& p) { p.Set("block_size", 4); }, "'levels' is F32 [3, 3, 7]"},
    {"MeansIsAText", [](PackedWeightParts& p) { p.Set("means", "no"); }, "'means' must be true or false"},
    {"NoMeansButStored", [](PackedWeightParts& p) { p.Set("means", false); }, "not F32 [3, 3, 4]"},
    {"NoScaleType", [](PackedWeightParts& p) { p.description.erase("scale_dtype"); }, "'scale_dtype' is missing"},
    {"ScaleTypeUnknown", [](PackedWeightParts& p) { p.Set("scale_dtype", "F31"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfAnotherTensor", [](PackedWeightParts& p) { p.Set("scale_dtype", "F16"); }, "'levels' is F32"},
    {"BlockIndexIsANumber", [](PackedWeightParts& p) { p.Set("block_index", 1); }, "'block_index' must be true or false"},
    {"BlockIndexNotDescribed", [](PackedWeightParts& p) { p.Set("block_index", false); }, "'block_index' does not belong"},
    {"NoRows", [](PackedWeightParts& p) { p.rows = 0; }, "shape [0, 20] is outside"},
    {"ColumnsAboveTheLimit", [](PackedWeightParts& p) { p.cols = (int64_t{1} << 30) + 1; }, "is outside 1..2^30"},
    {"HugeShape", [](PackedWeightParts& p) { p.rows = p.cols = int64_t{1} << 30; }, "'signs' is U8 [3, 3]"},
    {"NoTensors", [](PackedWeightParts& p) { p.tensors.clear(); }, "'signs' is missing"},
    {"NoSecondBits", [](PackedWeightParts& p) { p.Remove("second_bits"); }, "'second_bits' is missing"},
    {"NoSalient", [](PackedWeightParts& p) { p.Remove("salient"); }, "'salient' is missing"},
    {"NoLevels", [](PackedWeightParts& p) { p.Remove("levels"); }, "'levels' is missing"},
    {"NoBlockIndex", [](PackedWeightParts& p) { p.Remove("block_index"); }, "'block_index' is missing"},
    {"TensorTwice", [](PackedWeightParts& p) { p.tensors.push_back(p.Tensor("signs")); }, "'signs' does not belong"},
    {"SignsCutOff", [](PackedWeightParts& p) { p.Tensor("signs").bytes.pop_back(); }, "of 8 bytes"},
    {"SalientOfRows", [](PackedWeightParts& p) { p.Tensor("salient").shape = {3, 1}; }, "'salient' is U8 [3, 1]"},
    {"LevelsFlat", [](PackedWeightParts& p) { p.Tensor("levels").shape = {3, 21}; }, "'levels' is F32 [3, 21]"},
    {"BitsBehindTheLastSign", [](PackedWeightParts& p) { p.Tensor("signs").bytes[5] = 0x10; }, "'signs' has bits set after the last code of row 1"},
    {"BitsBehindTheLastColumn", [](PackedWeightParts& p) { p.Tensor("salient").bytes[2] = 0x20; }, "'salient' has bits set"},
    {"LevelNan", [](PackedWeightParts& p) { p.Put<float>("levels", 7, NAN); }, "'levels' at row 0, block 1"},
    {"LevelInfinite", [](PackedWeightParts& p) { p.Put<float>("levels", 62, -kInfinity); }, "'levels' at row 2, block 2"},
    {"LevelsWhoseSumIsInfinite", [](PackedWeightParts& p) { p.Put<float>("levels", 21, 3e38f); p.Put<float>("levels", 22, 3e38f); }, "'levels' at row 1, block 0"},
    {"BlockAboveTheLast", [](PackedWeightParts& p) { p.Tensor("block_index").bytes[7] = 3; }, "'block_index' is 3 at input 7; there are 3 blocks"},
    {"BlockIndexOfI32", [](PackedWeightParts& p) { p.Tensor("block_index").dtype = Dtype::kI32; }, "'block_index' is I32"},
};
// clang-format on

class BadResidualBinaryTest : public testing::TestWithParam<BrokenPart> {};

TEST_P(BadResidualBinaryTest, IsRefusedByItsField) {
  ExpectRefusedByItsField(PackedWeightParts(ValidWeight()), GetParam());
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadResidualBinaryTest, testing::ValuesIn(kBrokenParts),
                         [](const auto& row) { return row.param.name; });

// The example of docs/formats/packed_weights.md.
TEST(ResidualBinaryWeightTest, DocumentedExampleDecodes) {
  const auto bytes = [](std::initializer_list<int> values) { return std::string(values.begin(), values.end()); };
  const Json description = {{"block_size", 8}, {"scale_dtype", "F16"}};
  const std::vector<StoredTensor> tensors = {
      {"signs", Dtype::kU8, {1, 1}, bytes({0x4e})},
      {"second_bits", Dtype::kU8, {1, 1}, bytes({0x58})},
      {"salient", Dtype::kU8, {1, 1}, bytes({0x04})},
      {"levels", Dtype::kF16, {1, 1, 7}, bytes({0, 0x34, 0, 0x38, 0, 0xb8, 0, 0x3c, 0, 0x40, 0, 0x3c, 0, 0x34})}};
  ASSERT_OK_AND_ASSIGN(const auto weight,
                       QuantizedWeightFromTensors("residual_binary", description, tensors, 1, 8, kWhat));
  const Matrix decoded = weight->Decode();
  const std::vector<float> expected = {-0.25f, 0.75f, 2.75f, 0.5f, -1.5f, -0.25f, 0.5f, -0.25f};
  EXPECT_EQ(std::vector<float>(decoded.data(), decoded.data() + 8), expected);
  EXPECT_EQ(static_cast<const ResidualBinaryWeight&>(*weight).PlaneBitsPerWeight(), 1.125);
}

}  // namespace
}  // namespace quantd
