// Packed weights of a hostile artifact: every field and tensor broken once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/uniform_weight.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kWhat[] = "models/a: site 'model.layers.0.mlp.up_proj'";

// A valid weight of 5 x 20: 3 bits, so that a row's codes end in 4 spare bits; three groups, whose zeros end in 7.
struct Packed {
  Packed() {
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
    const UniformWeight weight(layout, std::move(parts));
    description = weight.Description();
    tensors = weight.ToTensors();
  }

  StoredTensor& Tensor(const std::string& suffix) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.suffix == suffix; });
  }
  void Remove(const std::string& suffix) { tensors.erase(tensors.begin() + (&Tensor(suffix) - tensors.data())); }
  void Set(const char* key, const Json& value) { description[key] = value; }
  void PutScale(int64_t index, float value) { std::memcpy(&Tensor("scales").bytes[4 * index], &value, 4); }
  void PutGroup(int64_t column, int32_t value) { std::memcpy(&Tensor("group_index").bytes[4 * column], &value, 4); }

  absl::StatusOr<std::unique_ptr<QuantizedWeight>> Read() const {
    return QuantizedWeightFromTensors("uniform", description, tensors, rows, cols, kWhat);
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
const BadPacked kBadPacked[] = {
    // The description.
    {"DescriptionIsAList", [](Packed& p) { p.description = Json::array(); }, "its description is not an object"},
    {"NoBits", [](Packed& p) { p.description.erase("bits"); }, "'bits' is missing"},
    {"BitsZero", [](Packed& p) { p.Set("bits", 0); }, "bits is 0, not 1..8"},
    {"BitsNine", [](Packed& p) { p.Set("bits", 9); }, "not 1..8"},
    {"BitsNegative", [](Packed& p) { p.Set("bits", -3); }, "not 1..8"},
    {"BitsWrapAround32Bits", [](Packed& p) { p.Set("bits", (int64_t{1} << 32) + 3); }, "not 1..8"},
    {"BitsAFraction", [](Packed& p) { p.Set("bits", 3.0); }, "'bits' must be an integer"},
    {"BitsOfAnotherWidth", [](Packed& p) { p.Set("bits", 4); }, "'codes' is U8 [5, 8] of 40 bytes, not U8 [5, 10] of 50"},
    {"NoGroupSize", [](Packed& p) { p.description.erase("group_size"); }, "'group_size' is missing"},
    {"GroupSizeZero", [](Packed& p) { p.Set("group_size", 0); }, "group_size 0 is outside 1..20"},
    {"GroupSizeNegative", [](Packed& p) { p.Set("group_size", -1); }, "group_size -1 is outside 1..20"},
    {"GroupSizeAboveTheInputs", [](Packed& p) { p.Set("group_size", 21); }, "group_size 21 is outside 1..20"},
    {"GroupSizeOf2To62", [](Packed& p) { p.Set("group_size", int64_t{1} << 62); }, "is outside 1..20"},
    {"GroupSizeOfMoreGroups", [](Packed& p) { p.Set("group_size", 4); }, "'scales' is F32 [5, 3]"},
    {"SymmetricIsANumber", [](Packed& p) { p.Set("symmetric", 1); }, "'symmetric' must be true or false"},
    {"PerRowIsAText", [](Packed& p) { p.Set("per_row", "true"); }, "'per_row' must be true or false"},
    {"PerRowOff", [](Packed& p) { p.Set("per_row", false); }, "'scales' is F32 [5, 3]"},
    {"NoScaleType", [](Packed& p) { p.description.erase("scale_dtype"); }, "'scale_dtype' is missing"},
    {"ScaleTypeIsANumber", [](Packed& p) { p.Set("scale_dtype", 32); }, "'scale_dtype' must be a string"},
    {"ScaleTypeUnknown", [](Packed& p) { p.Set("scale_dtype", "F31"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfIntegers", [](Packed& p) { p.Set("scale_dtype", "I32"); }, "scale_dtype is neither F16 nor F32"},
    {"ScaleTypeOfAnotherTensor", [](Packed& p) { p.Set("scale_dtype", "F16"); }, "'scales' is F32 [5, 3] of 60 bytes, not F16"},
    // The shape that the manifest gives.
    {"NoRows", [](Packed& p) { p.rows = 0; }, "shape [0, 20] is outside"},
    {"NegativeColumns", [](Packed& p) { p.cols = -20; }, "shape [5, -20] is outside"},
    {"RowsAboveTheLimit", [](Packed& p) { p.rows = (int64_t{1} << 30) + 1; }, "is outside 1..2^30"},
    {"HugeRows", [](Packed& p) { p.rows = int64_t{1} << 30; }, "'codes' is U8 [5, 8]"},
    {"MoreColumns", [](Packed& p) { p.cols = 24; }, "'codes' is U8 [5, 8] of 40 bytes, not U8 [5, 9]"},
    {"FewerRows", [](Packed& p) { p.rows = 4; }, "'codes' is U8 [5, 8]"},
    // The tensors.
    {"NoTensors", [](Packed& p) { p.tensors.clear(); }, "'codes' is missing"},
    {"NoScales", [](Packed& p) { p.Remove("scales"); }, "'scales' is missing"},
    {"NoZeros", [](Packed& p) { p.Remove("zeros"); }, "'zeros' is missing"},
    {"NoGroupIndex", [](Packed& p) { p.Remove("group_index"); }, "'group_index' is missing"},
    {"ZerosOfASymmetricGrid", [](Packed& p) { p.Set("symmetric", true); }, "'zeros' does not belong"},
    {"GroupIndexNotDescribed", [](Packed& p) { p.Set("group_index", false); }, "'group_index' does not belong"},
    {"TensorTwice", [](Packed& p) { p.tensors.push_back(p.Tensor("codes")); }, "'codes' does not belong"},
    {"TensorUnknown", [](Packed& p) { p.tensors.push_back({"outliers", Dtype::kF32, {0}, ""}); }, "'outliers' does not belong"},
    {"CodesOfI8", [](Packed& p) { p.Tensor("codes").dtype = Dtype::kI8; }, "'codes' is I8"},
    {"CodesTransposed", [](Packed& p) { p.Tensor("codes").shape = {8, 5}; }, "'codes' is U8 [8, 5]"},
    {"CodesFlat", [](Packed& p) { p.Tensor("codes").shape = {40}; }, "'codes' is U8 [40]"},
    {"CodesWithoutShape", [](Packed& p) { p.Tensor("codes").shape = {}; }, "'codes' is U8 []"},
    {"CodesCutOff", [](Packed& p) { p.Tensor("codes").bytes.pop_back(); }, "of 39 bytes"},
    {"CodesTooLong", [](Packed& p) { p.Tensor("codes").bytes.push_back('\0'); }, "of 41 bytes"},
    {"CodesEmpty", [](Packed& p) { p.Tensor("codes").bytes.clear(); }, "of 0 bytes"},
    {"BitsBehindTheLastCode", [](Packed& p) { p.Tensor("codes").bytes[3 * 8 + 7] = 0x10; }, "'codes' has bits set after the last code of row 3"},
    {"BitsBehindTheLastZero", [](Packed& p) { p.Tensor("zeros").bytes[2 * 4 + 1] = 0x02; }, "'zeros' has bits set after the last code of row 4"},
    {"ZerosOfI32", [](Packed& p) { p.Tensor("zeros").dtype = Dtype::kI32; }, "'zeros' is I32"},
    {"ScaleZero", [](Packed& p) { p.PutScale(4, 0); }, "'scales' is 0 at row 1, group 1"},
    {"ScaleNegative", [](Packed& p) { p.PutScale(14, -1); }, "'scales' is -1 at row 4, group 2"},
    {"ScaleNan", [](Packed& p) { p.PutScale(0, NAN); }, "'scales' is nan at row 0, group 0"},
    {"ScaleInfinite", [](Packed& p) { p.PutScale(0, kInfinity); }, "'scales' is inf at row 0, group 0"},
    {"ScaleWhoseMultipleIsInfinite", [](Packed& p) { p.PutScale(0, 1e38f); }, "'scales' is 1e+38 at row 0, group 0"},
    {"GroupNegative", [](Packed& p) { p.PutGroup(19, -1); }, "'group_index' is -1 at input 19; there are 3 groups"},
    {"GroupAboveTheLast", [](Packed& p) { p.PutGroup(0, 3); }, "'group_index' is 3 at input 0"},
    {"GroupAtTheEndOf32Bits", [](Packed& p) { p.PutGroup(7, std::numeric_limits<int32_t>::min()); }, "at input 7"},
    {"GroupIndexOfI64", [](Packed& p) { p.Tensor("group_index").dtype = Dtype::kI64; }, "'group_index' is I64"},
    {"GroupIndexOfRows", [](Packed& p) { p.Tensor("group_index").shape = {5}; }, "'group_index' is I32 [5]"},
};
// clang-format on

class BadPackedTest : public testing::TestWithParam<BadPacked> {};

TEST_P(BadPackedTest, IsRefusedByItsField) {
  Packed packed;
  EXPECT_OK(packed.Read());
  GetParam().damage(packed);
  const auto weight = packed.Read();
  EXPECT_THAT(weight, FailsWith("ARTIFACT_MALFORMED", GetParam().mentions));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_MALFORMED", kWhat));
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadPackedTest, testing::ValuesIn(kBadPacked),
                         [](const auto& row) { return row.param.name; });

TEST(PackedWeightTest, LargestCodesAndZerosDecode) {
  Packed packed;
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
  const Packed packed;
  const auto weight = QuantizedWeightFromTensors("codebook", packed.description, packed.tensors, 5, 20, kWhat);
  EXPECT_THAT(weight, FailsWith("ARTIFACT_GRID_UNKNOWN", "'codebook'"));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_GRID_UNKNOWN", "uniform"));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_GRID_UNKNOWN", kWhat));
}

}  // namespace
}  // namespace quantd
