#include "core/formats/gptq_checkpoint.h"

#include <cmath>
#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "tests/core/formats/gptq_modules.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::Each;
using testing::ElementsAre;

std::vector<uint32_t> Words(const std::string& bytes) {
  std::vector<uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

GptqModuleShape ShapeOf(int bits, int64_t rows, int64_t cols, int64_t group_size) {
  return {.name = "block.fc",
          .scheme = {.bits = bits, .group_size = group_size, .symmetric = false, .act_order = false},
          .rows = rows,
          .cols = cols,
          .fused_set = ""};
}

TEST(GptqCheckpoint, SpecsHaveTheDocumentedNamesTypesAndShapes) {
  const std::vector<TensorSpec> specs = GptqTensorSpecs(ShapeOf(3, 64, 128, 32));
  ASSERT_EQ(specs.size(), 4u);
  EXPECT_EQ(specs[0].name, "block.fc.qweight");
  EXPECT_THAT(specs[0].shape, ElementsAre(12, 64));
  EXPECT_EQ(specs[1].name, "block.fc.qzeros");
  EXPECT_THAT(specs[1].shape, ElementsAre(4, 6));
  EXPECT_EQ(specs[2].name, "block.fc.g_idx");
  EXPECT_THAT(specs[2].shape, ElementsAre(128));
  EXPECT_EQ(specs[3].name, "block.fc.scales");
  EXPECT_THAT(specs[3].shape, ElementsAre(4, 64));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(specs[i].dtype, Dtype::kI32);
  EXPECT_EQ(specs[3].dtype, Dtype::kF16);
}

// One code set at a time, so that each bit of each word is pinned to its place by name: word and first bit of input i.
TEST(GptqCheckpoint, EachCodeLiesInItsBits) {
  struct Place {
    int bits, input, word, shift;
  };
  constexpr Place kPlaces[] = {
      {2, 0, 0, 0},   {2, 15, 0, 30}, {2, 16, 1, 0}, {2, 31, 1, 30}, {4, 0, 0, 0},   {4, 7, 0, 28}, {4, 8, 1, 0},
      {4, 31, 3, 28}, {8, 0, 0, 0},   {8, 3, 0, 24}, {8, 4, 1, 0},   {8, 31, 7, 24}, {3, 0, 0, 0},  {3, 9, 0, 27},
      {3, 11, 1, 1},  {3, 20, 1, 28}, {3, 22, 2, 2}, {3, 31, 2, 29}, {3, 32, 3, 0},
  };
  for (const Place& place : kPlaces) {
    const int64_t cols = 64;
    OwnedGptqModule module = RandomGptqModule(ShapeOf(place.bits, 32, cols, -1), 1, 1);
    std::fill(module.codes.begin(), module.codes.end(), 0);
    const int row = 5;
    const uint8_t code = static_cast<uint8_t>((1 << place.bits) - 1);
    module.codes[row * cols + place.input] = code;
    ASSERT_OK_AND_ASSIGN(const auto tensors, PackGptqModule(module.View(), GptqVersion::kV1));
    std::vector<uint32_t> expected(cols * place.bits / 32 * 32, 0);
    expected[place.word * 32 + row] = static_cast<uint32_t>(code) << place.shift;
    EXPECT_EQ(Words(tensors[0].bytes), expected) << place.bits << " bits, input " << place.input;
  }
}

// The two codes of a 3-bit unit that cross a word boundary.
TEST(GptqCheckpoint, ThreeBitCodesCrossWords) {
  OwnedGptqModule module = RandomGptqModule(ShapeOf(3, 32, 32, -1), 1, 1);
  std::fill(module.codes.begin(), module.codes.end(), 0);
  module.codes[10] = 0b101;  // low two bits 01 in word 0 bits 30-31, high bit in word 1 bit 0
  module.codes[21] = 0b101;  // low bit in word 1 bit 31, upper two 10 in word 2 bits 0-1
  ASSERT_OK_AND_ASSIGN(const auto tensors, PackGptqModule(module.View(), GptqVersion::kV1));
  const std::vector<uint32_t> words = Words(tensors[0].bytes);
  EXPECT_EQ(words[0 * 32], 0b01u << 30);
  EXPECT_EQ(words[1 * 32], 1u | 1u << 31);
  EXPECT_EQ(words[2 * 32], 0b10u);
}

TEST(GptqCheckpoint, SymmetricZerosOfVersionOneAreTheKnownWords) {
  struct Known {
    int bits;
    uint32_t word;
  };
  for (const Known& known : {Known{4, 0x77777777}, Known{2, 0x55555555}, Known{8, 0x7f7f7f7f}}) {
    GptqModuleShape shape = ShapeOf(known.bits, 32, 64, 32);
    shape.scheme.symmetric = true;
    const OwnedGptqModule module = RandomGptqModule(shape, 0, 7);
    EXPECT_EQ(RequiredGptqVersion(module.zeros), GptqVersion::kV1);
    ASSERT_OK_AND_ASSIGN(const auto tensors, PackGptqModule(module.View(), GptqVersion::kV1));
    EXPECT_THAT(Words(tensors[1].bytes), Each(known.word)) << known.bits;
  }
}

TEST(GptqCheckpoint, ZerosArePackedAlongOutputs) {
  OwnedGptqModule module = RandomGptqModule(ShapeOf(4, 16, 64, 32), 1, 1);  // two groups
  for (int r = 0; r < 16; ++r) {
    module.zeros[r * 2] = static_cast<uint8_t>(r);           // group 0: 0..15, so version 2
    module.zeros[r * 2 + 1] = static_cast<uint8_t>(15 - r);  // group 1
  }
  ASSERT_OK_AND_ASSIGN(const auto tensors, PackGptqModule(module.View(), GptqVersion::kV2));
  EXPECT_THAT(Words(tensors[1].bytes), ElementsAre(0x76543210, 0xfedcba98, 0x89abcdef, 0x01234567));
}

TEST(GptqCheckpoint, VersionOneWhenEveryZeroIsAtLeastOne) {
  EXPECT_EQ(RequiredGptqVersion({1, 15, 8}), GptqVersion::kV1);
  EXPECT_EQ(RequiredGptqVersion({1, 0, 8}), GptqVersion::kV2);
}

struct Refusal {
  const char* name;
  std::function<void(OwnedGptqModule&)> spoil;  // of a good 4-bit module [16, 64], group 32
  const char* mentions;
};

std::vector<Refusal> Refusals() {
  using M = OwnedGptqModule;
  return {
      {"OneBit", [](M& m) { m.shape.scheme.bits = 1; }, "1 bits"},
      {"FiveBits", [](M& m) { m.shape.scheme.bits = 5; }, "2, 3, 4 and 8"},
      {"NineBits", [](M& m) { m.shape.scheme.bits = 9; }, "9 bits"},
      {"InputsDoNotFillWords", [](M& m) { m.shape.cols = 68; }, "68 inputs"},
      {"OutputsDoNotFillWords", [](M& m) { m.shape.rows = 12; }, "12 outputs"},
      {"ThreeBitsNeed32Outputs", [](M& m) { m.shape.scheme.bits = 3; }, "multiple of 32"},
      {"NoInputs", [](M& m) { m.shape.cols = 0; }, "0 inputs"},
      {"NegativeOutputs", [](M& m) { m.shape.rows = -16; }, "-16 outputs"},
      {"TooManyInputs", [](M& m) { m.shape.cols = int64_t{1} << 40; }, "at most 16777216"},
      {"GroupDoesNotDivide", [](M& m) { m.shape.scheme.group_size = 48; }, "does not divide 64"},
      {"GroupZero", [](M& m) { m.shape.scheme.group_size = 0; }, "group size 0"},
      {"GroupMinusTwo", [](M& m) { m.shape.scheme.group_size = -2; }, "group size -2"},
      {"CodeTooLarge", [](M& m) { m.codes[70] = 16; }, "code 16 at flat index 70"},
      {"ZeroTooLarge", [](M& m) { m.zeros[3] = 16; }, "zero 16 of row 1, group 1"},
      {"ZeroOfZeroInVersionOne", [](M& m) { m.zeros[4] = 0; }, "gptq_v2"},
      {"SymmetricClaimIsFalse",
       [](M& m) {
         m.shape.scheme.symmetric = true;
         std::fill(m.zeros.begin(), m.zeros.end(), 8);
         m.zeros[9] = 7;
       },
       "is not 8"},
      {"ScaleNegative", [](M& m) { m.scales[5] = -0.5f; }, "row 2, group 1"},
      {"ScaleMinusZero", [](M& m) { m.scales[5] = -0.0f; }, "row 2, group 1"},
      {"ScaleNan", [](M& m) { m.scales[5] = std::nanf(""); }, "float16"},
      {"ScaleInfinite", [](M& m) { m.scales[5] = INFINITY; }, "float16"},
      {"ScaleBetweenHalfs", [](M& m) { m.scales[5] = 1.0f + 0x1p-12f; }, "rounded to float16"},
      {"ScaleAboveF16", [](M& m) { m.scales[5] = 65536.0f; }, "float16"},
      {"ScaleBelowF16", [](M& m) { m.scales[5] = 0x1p-26f; }, "float16"},
      {"GroupIndexWithoutActOrder",
       [](M& m) {
         m.group_index.assign(64, 0);
         std::fill(m.group_index.begin() + 31, m.group_index.end(), 1);
       },
       "input 31"},
      {"GroupIndexOutOfRange",
       [](M& m) {
         m.shape.scheme.act_order = true;
         m.group_index.assign(64, 2);
       },
       "group 2 of 2"},
      {"GroupIndexNegative",
       [](M& m) {
         m.shape.scheme.act_order = true;
         m.group_index.assign(64, -1);
       },
       "group -1"},
  };
}

class GptqRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(GptqRefusal, NamesModuleRuleAndRemedy) {
  OwnedGptqModule module = RandomGptqModule(ShapeOf(4, 16, 64, 32), 1, 3);
  ASSERT_OK(PackGptqModule(module.View(), GptqVersion::kV1)) << "the module is good before it is spoilt";
  GetParam().spoil(module);
  const absl::Status status = PackGptqModule(module.View(), GptqVersion::kV1).status();
  EXPECT_THAT(status, FailsWith("EXPORT_TARGET_CANNOT_HOLD", GetParam().mentions));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("block.fc"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(";")) << "a remedy follows the rule";
}
INSTANTIATE_TEST_SUITE_P(Table, GptqRefusal, testing::ValuesIn(Refusals()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(GptqCheckpoint, WrongSpanLengthsAreAnInternalError) {
  OwnedGptqModule module = RandomGptqModule(ShapeOf(4, 16, 64, 32), 1, 3);
  module.zeros.pop_back();
  EXPECT_EQ(PackGptqModule(module.View(), GptqVersion::kV1).status().code(), absl::StatusCode::kInternal);
}

TEST(GptqCheckpoint, FusedModulesShareOneScheme) {
  std::vector<GptqModuleShape> shapes(3, ShapeOf(4, 16, 64, 32));
  shapes[0].name = "q_proj";
  shapes[1].name = "k_proj";
  shapes[2].name = "o_proj";
  shapes[0].fused_set = shapes[1].fused_set = "block 0 qkv";
  shapes[2].scheme.bits = 8;  // fused with nothing
  EXPECT_OK(CheckGptqFusedSets(shapes));
  shapes[1].scheme.symmetric = true;
  const absl::Status status = CheckGptqFusedSets(shapes);
  EXPECT_THAT(status, FailsWith("EXPORT_TARGET_CANNOT_HOLD", "k_proj"));
  EXPECT_THAT(status, FailsWith("EXPORT_TARGET_CANNOT_HOLD", "q_proj"));
}

}  // namespace
}  // namespace quantd
