// SentencePiece models, broken in one place each.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/text/tokenizer.h"
#include "tests/core/text/tokenizer_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kMalformed[] = "TOKENIZER_MALFORMED";
constexpr char kUnsupported[] = "TOKENIZER_UNSUPPORTED";

// Protobuf's wire format, for numbers below 128 and messages below 16 kB.
std::string Varint(uint32_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>((value & 0x7F) | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string NumberField(uint32_t field, uint32_t value) {
  return absl::StrCat(Varint(field << 3), Varint(value));
}
std::string BytesField(uint32_t field, absl::string_view bytes) {
  return absl::StrCat(Varint(field << 3 | 2), Varint(static_cast<uint32_t>(bytes.size())), bytes);
}
std::string FloatField(uint32_t field, float value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return absl::StrCat(Varint(field << 3 | 5), bytes);
}

constexpr uint32_t kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6;

std::string Piece(absl::string_view text, float score, uint32_t type) {
  return BytesField(1, absl::StrCat(BytesField(1, text), FloatField(2, score), NumberField(3, type)));
}

const std::string& SpecialPieces() {
  static const std::string kPieces =
      absl::StrCat(Piece("<unk>", 0, kUnknown), Piece("<s>", 0, kControl), Piece("</s>", 0, kControl));
  return kPieces;
}
const std::string& TextPieces() {
  static const std::string kPieces = absl::StrCat(Piece("\u2581", -1, kNormal), Piece("a", -2, kNormal));
  return kPieces;
}
std::string TrainerSpec(uint32_t model_type) {
  return BytesField(2, NumberField(3, model_type));
}
const std::string& NormalizerSpec() {
  static const std::string kSpec = BytesField(3, BytesField(1, "identity"));
  return kSpec;
}
std::string SmallModel() {
  return absl::StrCat(SpecialPieces(), TextPieces(), TrainerSpec(2), NormalizerSpec());
}

TEST(SentencePieceTest, ASmallModelEncodes) {
  const std::string folder = FolderWith("tokenizer.model", SmallModel());
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenTokenizer(folder));
  ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->EncodeWithSpecial("a b<s>a"));
  EXPECT_EQ(ids.front(), 1);  // BOS, as models of the Llama family have it
  EXPECT_EQ(std::vector<int32_t>(ids.begin(), ids.begin() + 4), (std::vector<int32_t>{1, 3, 4, 3}));
  EXPECT_EQ(ids.back(), 4);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 1) << "a text must not forge a control token";
  EXPECT_EQ(tokenizer->Decode({1, 4, 3, 4, 99, -1}, /*skip_special=*/true), "a a");
  EXPECT_EQ(tokenizer->vocabulary_size(), 5);
}

TEST(SentencePieceTest, TheConfigurationTurnsBosOff) {
  const std::string folder = FolderWith("tokenizer.model", SmallModel());
  AddFile(folder, "tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true})");
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenTokenizer(folder));
  ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->EncodeWithSpecial("a"));
  EXPECT_EQ(ids, (std::vector<int32_t>{3, 4, 2}));
  EXPECT_FALSE(tokenizer->adds_bos());
}

struct BadModel {
  const char* name;
  std::string bytes;
  const char* reason;
  const char* mentions;
};

std::vector<BadModel> BadModels() {
  const std::string specials = SpecialPieces();
  const std::string rest = absl::StrCat(TextPieces(), TrainerSpec(2), NormalizerSpec());
  return {
      {"Empty", "", kMalformed, "no pieces"},
      {"NoPieces", absl::StrCat(TrainerSpec(2), NormalizerSpec()), kMalformed, "no pieces"},
      {"Text", "{\"model\": 1}", kMalformed, "protobuf"},
      {"CutOff", SmallModel().substr(0, 40), kMalformed, "protobuf"},
      {"LengthBeyondTheFile", absl::StrCat(SmallModel(), "\x0A\xFF\xFF\xFF\xFF\x0F"), kMalformed, "protobuf"},
      {"VarintTooLong", absl::StrCat(SmallModel(), std::string(11, '\xFF')), kMalformed, "protobuf"},
      {"FieldZero", absl::StrCat(SmallModel(), std::string(2, '\0')), kMalformed, "protobuf"},
      {"PieceIsANumber", absl::StrCat(SmallModel(), NumberField(1, 7)), kMalformed, "field 1 is no message"},
      {"PieceCutOff", absl::StrCat(SmallModel(), BytesField(1, "\x0A\x7F")), kMalformed, "piece 5 is cut off"},
      {"PieceEmpty", absl::StrCat(SmallModel(), Piece("", 0, kNormal)), kMalformed, "piece 5"},
      {"PieceNotUtf8", absl::StrCat(SmallModel(), Piece("\xC3", 0, kNormal)), kMalformed, "piece 5"},
      {"PieceTwice", absl::StrCat(SmallModel(), Piece("a", -3, kNormal)), kMalformed, "already defined"},
      {"PieceHoldsNul", absl::StrCat(SmallModel(), Piece(std::string("a\0b", 3), -3, 4)), kMalformed, "NUL"},
      {"ScoreNotFinite", absl::StrCat(SmallModel(), Piece("b", NAN, kNormal)), kMalformed, "score"},
      {"NoUnknown", rest, kMalformed, "unk"},
      {"UnknownTwice", absl::StrCat(specials, Piece("<unk2>", 0, kUnknown), rest), kMalformed, "unk"},
      {"BytePieceIsNoByte", absl::StrCat(SmallModel(), Piece("<0xZZ>", 0, kByte)), kMalformed, "libsentencepiece"},
      {"WordModel", absl::StrCat(specials, TextPieces(), TrainerSpec(3)), kUnsupported, "model_type 3"},
      {"CharacterModel", absl::StrCat(specials, TextPieces(), TrainerSpec(4)), kUnsupported, "model_type 4"},
      {"CompiledTable", absl::StrCat(SmallModel(), BytesField(3, BytesField(2, "\x10\x27\x00\x00xxxx"))), kUnsupported,
       "precompiled_charsmap"},
      {"CompiledTableForDecoding", absl::StrCat(SmallModel(), BytesField(5, BytesField(2, "\xFF\xFF\xFF\xFF"))),
       kUnsupported, "precompiled_charsmap"},
  };
}

class SentencePieceBadModelTest : public testing::TestWithParam<BadModel> {};

TEST_P(SentencePieceBadModelTest, IsRefused) {
  const std::string folder = FolderWith("tokenizer.model", GetParam().bytes);
  const auto tokenizer = OpenTokenizer(folder);
  EXPECT_THAT(tokenizer, FailsWith(GetParam().reason, GetParam().mentions));
  EXPECT_THAT(tokenizer, FailsWith(GetParam().reason, JoinPath(folder, "tokenizer.model")));
}

INSTANTIATE_TEST_SUITE_P(EveryRule, SentencePieceBadModelTest, testing::ValuesIn(BadModels()),
                         [](const auto& row) { return row.param.name; });

// Whatever a flipped bit does to a real model, opening it ends in a tokenizer that works or in an error with a reason.
TEST(SentencePieceTest, FlippedBitsNeverBreakTheProcess) {
  ASSERT_OK_AND_ASSIGN(const std::string bytes,
                       RealFileSystem().ReadFile(SourcePath("data/models/quantd-tiny-llama/tokenizer.model"), 1 << 20));
  const std::string folder = MakeTempDir();
  int refused = 0;
  for (size_t i = 0; i < 64; ++i) {
    std::string broken = bytes;
    // The head (special pieces), then the tail (specifications), where most bits mean something.
    const size_t at = i % 2 == 0 ? i * 5 : bytes.size() - 1 - i * 3;
    broken[at] = static_cast<char>(broken[at] ^ (1 << (i % 8)));
    const auto tokenizer = OpenSentencePiece(AddFile(folder, "tokenizer.model", broken));
    if (tokenizer.ok()) {
      EXPECT_OK((*tokenizer)->Encode("Once upon a time \u4F60\u597D"));
    } else {
      ++refused;
      EXPECT_FALSE(ReasonOf(tokenizer.status()).empty());
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace quantd
