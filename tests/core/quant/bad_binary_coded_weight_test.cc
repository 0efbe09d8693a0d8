// Packed binary codes of a hostile artifact: every field and tensor broken once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/quant/binary_coded_weight.h"
#include "tests/core/quant/packed_weight_parts.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// A valid weight of 3 x 20: two planes, groups of 8, 8 and 4.
BinaryCodedWeight ValidWeight() {
  const BinaryCodedLayout layout{
      .rows = 3, .cols = 20, .planes = 2, .group_size = 8, .scale_dtype = Dtype::kF32, .has_group_index = true};
  BinaryCodedTensors parts;
  parts.planes.resize(3 * 2 * 3);
  const std::vector<float> alphas(3 * 3 * 2, 0.5f);
  const std::vector<float> offsets(3 * 3, -1.0f);
  parts.alphas.assign(reinterpret_cast<const char*>(alphas.data()), alphas.size() * sizeof(float));
  parts.offsets.assign(reinterpret_cast<const char*>(offsets.data()), offsets.size() * sizeof(float));
  for (int32_t c = 0; c < layout.cols; ++c) parts.group_index.push_back(c % 3);
  return BinaryCodedWeight(layout, std::move(parts));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// clang-format off
constexpr BrokenPart kBrokenParts[] = {
    {"DescriptionIsAList", [](PackedWeightParts& p) { p.description = Json::array(); }, "its description is not an object"},
    {"NoBits", [](PackedWeightParts& p) { p.description.erase("bits"); }, "'bits' is missing"},
    {"BitsZero", [](PackedWeightParts& p) { p.Set("bits", 0); }, "bits 0 is outside 1..8"},
    {"BitsNine", [](PackedWeightParts& p) { p.Set("bits", 9); }, "bits 9 is outside 1..8"},
    {"BitsWrapAround32Bits", [](PackedWeightParts& p) { p.Set("bits", (int64_t{1} << 32) + 2); }, "is outside 1..8"},
    {"BitsOfMorePlanes", [](PackedWeightParts& p) { p.Set("bits", 3); }, "'planes' is U8 [6, 3] of 18 bytes, not U8 [9, 3] of 27"},
    {"GroupSizeZero", [](PackedWeightParts& p) { p.Set("group_size", 0); }, "group_size 0 is outside 1..20"},
    {"GroupSizeAboveTheInputs", [](PackedWeightParts& p) { p.Set("group_size", 21); }, "group_size 21 is outside 1..20"},
    {"GroupSizeOf2To62", [](PackedWeightParts& p) { p.Set("group_size", int64_t{1} << 62); }, "is outside 1..20"},
    {"GroupSizeOfMoreGroups", [](PackedWeightParts& p) { p.Set("group_size", 4); }, "'alphas' is F32 [3, 3, 2]"},
    {"ScaleTypeUnknown", [](PackedWeightParts& p) { p.Set("scale_dtype", "F31"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfIntegers", [](PackedWeightParts& p) { p.Set("scale_dtype", "I32"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfAnotherTensor", [](PackedWeightParts& p) { p.Set("scale_dtype", "F16"); }, "'alphas' is F32"},
    {"OffsetsNotDescribed", [](PackedWeightParts& p) { p.Set("offsets", false); }, "'offsets' does not belong"},
    {"OffsetsIsANumber", [](PackedWeightParts& p) { p.Set("offsets", 1); }, "'offsets' must be true or false"},
    {"GroupIndexNotDescribed", [](PackedWeightParts& p) { p.Set("group_index", false); }, "'group_index' does not belong"},
    // The shape that the manifest gives.
    {"NoRows", [](PackedWeightParts& p) { p.rows = 0; }, "shape [0, 20] is outside"},
    {"RowsAboveTheLimit", [](PackedWeightParts& p) { p.rows = (int64_t{1} << 30) + 1; }, "is outside 1..2^30"},
    {"HugeShape", [](PackedWeightParts& p) { p.rows = p.cols = int64_t{1} << 30; }, "'planes' is U8 [6, 3]"},
    // The tensors.
    {"NoTensors", [](PackedWeightParts& p) { p.tensors.clear(); }, "'planes' is missing"},
    {"NoAlphas", [](PackedWeightParts& p) { p.Remove("alphas"); }, "'alphas' is missing"},
    {"NoOffsets", [](PackedWeightParts& p) { p.Remove("offsets"); }, "'offsets' is missing"},
    {"NoGroupIndex", [](PackedWeightParts& p) { p.Remove("group_index"); }, "'group_index' is missing"},
    {"TensorTwice", [](PackedWeightParts& p) { p.tensors.push_back(p.Tensor("planes")); }, "'planes' does not belong"},
    {"PlaneCutShort", [](PackedWeightParts& p) { p.Tensor("planes").bytes.pop_back(); }, "of 17 bytes"},
    {"PlanesOfI8", [](PackedWeightParts& p) { p.Tensor("planes").dtype = Dtype::kI8; }, "'planes' is I8"},
    {"BitsBehindTheLastColumn", [](PackedWeightParts& p) { p.Tensor("planes").bytes[3 * 3 + 2] = 0x10; }, "'planes' has bits set after the last code of row 3"},
    {"AlphaNan", [](PackedWeightParts& p) { p.Put<float>("alphas", 7, NAN); }, "'alphas' holds nan at row 1, group 0"},
    {"AlphaNegative", [](PackedWeightParts& p) { p.Put<float>("alphas", 5, -0.5f); }, "'alphas' holds -0.5 at row 0, group 2"},
    {"AlphaInfinite", [](PackedWeightParts& p) { p.Put<float>("alphas", 17, kInfinity); }, "row 2, group 2 add up to inf"},
    {"OffsetNan", [](PackedWeightParts& p) { p.Put<float>("offsets", 0, NAN); }, "row 0, group 0 add up to nan"},
    {"SumThatOverflows", [](PackedWeightParts& p) { p.Put<float>("offsets", 3, -3.4e38f); p.Put<float>("alphas", 6, 1e38f); }, "row 1, group 0 add up to inf"},
    {"GroupAboveTheLast", [](PackedWeightParts& p) { p.Put<int32_t>("group_index", 7, 3); }, "'group_index' is 3 at input 7; there are 3 groups"},
    {"GroupNegative", [](PackedWeightParts& p) { p.Put<int32_t>("group_index", 0, -1); }, "'group_index' is -1 at input 0"},
};
// clang-format on

class BadBinaryCodedTest : public testing::TestWithParam<BrokenPart> {};

TEST_P(BadBinaryCodedTest, IsRefusedByItsField) {
  ExpectRefusedByItsField(PackedWeightParts(ValidWeight()), GetParam());
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadBinaryCodedTest, testing::ValuesIn(kBrokenParts),
                         [](const auto& row) { return row.param.name; });

// The example of docs/formats/packed_weights.md.
TEST(BinaryCodedWeightTest, DocumentedExampleDecodes) {
  BinaryCodedLayout layout{.rows = 1, .cols = 8, .planes = 2, .group_size = 8, .scale_dtype = Dtype::kF32};
  BinaryCodedTensors parts;
  parts.planes = {0x1a, 0x4c};
  const float alphas[] = {0.25f, 1.0f};
  const float offset = 0.5f;
  parts.alphas.assign(reinterpret_cast<const char*>(alphas), sizeof(alphas));
  parts.offsets.assign(reinterpret_cast<const char*>(&offset), sizeof(offset));
  const Matrix decoded = BinaryCodedWeight(layout, std::move(parts)).Decode();
  EXPECT_EQ(std::vector<float>(decoded.span().begin(), decoded.span().end()),
            std::vector<float>({-0.75f, -0.25f, 1.25f, 1.75f, -0.25f, -0.75f, 1.25f, -0.75f}));
}

}  // namespace
}  // namespace quantd
