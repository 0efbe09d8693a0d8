// How calibration sequences are cut from a text.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/text/corpus.h"
#include "tests/core/text/byte_tokenizer.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// `size` <= 10000 bytes in which any eleven in a row occur once only, in the first 1000 any seven: the place of a
// sequence can be read off its tokens.
Corpus Numbered(size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) absl::StrAppend(&text, 1000000 + i);
  text.resize(size);
  return {.path = "numbers.txt", .sha256 = "", .documents = {text}};
}

int64_t PlaceOf(const TokenSequence& sequence, const std::string& text) {
  const std::string bytes(sequence.begin(), sequence.end());
  const size_t place = text.find(bytes);
  EXPECT_NE(place, std::string::npos) << "the sequence is no stretch of the text";
  return static_cast<int64_t>(place);
}

TEST(CalibrationSequencesTest, AreStretchesOfTheTextWithoutOverlapWhenItIsLongEnough) {
  const Corpus corpus = Numbered(10000);
  const ByteTokenizer tokenizer;
  for (const int64_t sequences : {1, 7, 50, 100}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const CalibrationOptions options = {.sequences = sequences, .length = 100, .seed = seed, .bos = false};
      ASSERT_OK_AND_ASSIGN(const auto cut, CalibrationSequences(corpus, tokenizer, options));
      ASSERT_EQ(static_cast<int64_t>(cut.size()), sequences);
      int64_t end = 0;
      for (const TokenSequence& sequence : cut) {
        ASSERT_EQ(sequence.size(), 100u);
        const int64_t place = PlaceOf(sequence, corpus.documents[0]);
        EXPECT_GE(place, end) << "overlaps the one before";
        end = place + 100;
      }
    }
  }
}

TEST(CalibrationSequencesTest, TheSeedAloneDecides) {
  const Corpus corpus = Numbered(5000);
  const ByteTokenizer tokenizer;
  std::set<std::vector<TokenSequence>> different;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const CalibrationOptions options = {.sequences = 8, .length = 64, .seed = seed, .bos = false};
    ASSERT_OK_AND_ASSIGN(const auto first, CalibrationSequences(corpus, tokenizer, options));
    ASSERT_OK_AND_ASSIGN(const auto again, CalibrationSequences(corpus, tokenizer, options));
    EXPECT_EQ(first, again);
    different.insert(first);
  }
  EXPECT_EQ(different.size(), 10u);
}

// SplitMix64 from seed 0, times 961 places, upper half, sorted, plus 10 for each sequence before: computed apart from
// this code. Another machine, compiler or release must draw the same.
TEST(CalibrationSequencesTest, PlacesAreTheSameEverywhere) {
  const Corpus corpus = Numbered(1000);
  const CalibrationOptions options = {.sequences = 4, .length = 10, .seed = 0, .bos = false};
  ASSERT_OK_AND_ASSIGN(const auto cut, CalibrationSequences(corpus, ByteTokenizer(), options));
  std::vector<int64_t> places;
  for (const TokenSequence& sequence : cut) places.push_back(PlaceOf(sequence, corpus.documents[0]));
  EXPECT_EQ(places, (std::vector<int64_t>{25, 424, 868, 963}));
}

// Every place is equally likely: with 990 places and 2000 draws a tenth of the text expects 200 starts, with a standard
// deviation of sqrt(2000 * 0.1 * 0.9) = 13.4. Five of them are exceeded once in a million.
TEST(CalibrationSequencesTest, PlacesAreSpreadOverTheText) {
  const Corpus corpus = Numbered(999);
  std::vector<int> tenths(10);
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const CalibrationOptions options = {.sequences = 1, .length = 10, .seed = seed, .bos = false};
    ASSERT_OK_AND_ASSIGN(const auto cut, CalibrationSequences(corpus, ByteTokenizer(), options));
    ++tenths[static_cast<size_t>(PlaceOf(cut[0], corpus.documents[0]) / 99)];
  }
  for (const int count : tenths) EXPECT_NEAR(count, 200, 67);
}

TEST(CalibrationSequencesTest, OverlapOnlyWhenTheyMustAndNeverTwiceTheSame) {
  const Corpus corpus = Numbered(150);
  for (const int64_t sequences : {2, 10, 51}) {
    const CalibrationOptions options = {.sequences = sequences, .length = 100, .seed = 3, .bos = false};
    ASSERT_OK_AND_ASSIGN(const auto cut, CalibrationSequences(corpus, ByteTokenizer(), options));
    const std::set<TokenSequence> different(cut.begin(), cut.end());
    EXPECT_EQ(static_cast<int64_t>(different.size()), sequences);
  }
}

TEST(CalibrationSequencesTest, BosTakesThePlaceOfOneToken) {
  const Corpus corpus = Numbered(1000);
  const CalibrationOptions options = {.sequences = 10, .length = 100, .seed = 1, .bos = true};
  // 99 tokens a sequence come from the text, so 10 of them fit into 1000 without overlap.
  ASSERT_OK_AND_ASSIGN(const auto cut, CalibrationSequences(corpus, ByteTokenizer(), options));
  int64_t end = 0;
  for (const TokenSequence& sequence : cut) {
    ASSERT_EQ(sequence.size(), 100u);
    EXPECT_EQ(sequence[0], ByteTokenizer::kBos);
    const int64_t place = PlaceOf(TokenSequence(sequence.begin() + 1, sequence.end()), corpus.documents[0]);
    EXPECT_GE(place, end);
    end = place + 99;
  }
  EXPECT_THAT(CalibrationSequences(corpus, ByteTokenizer(/*has_bos=*/false), options),
              FailsWith("BOS_UNKNOWN", "tokenizer_config.json"));
}

TEST(CalibrationSequencesTest, DocumentsFollowEachOther) {
  const Corpus corpus = {.path = "three.jsonl", .sha256 = "", .documents = {"abc", "", "de"}};
  const CalibrationOptions options = {.sequences = 1, .length = 5, .seed = 0, .bos = false};
  ASSERT_OK_AND_ASSIGN(const auto cut, CalibrationSequences(corpus, ByteTokenizer(), options));
  EXPECT_EQ(cut[0], (TokenSequence{'a', 'b', 'c', 'd', 'e'}));
}

struct TooShort {
  const char* name;
  size_t text_tokens;
  CalibrationOptions options;
  CalibrationOptions largest;  // what the message advises
  const char* advice;
};

const TooShort kTooShort[] = {
    {"FewerSequences", 110, {100, 50, 0, false}, {61, 50, 0, false}, "sequences = 61 at this length"},
    {"ShorterSequences", 110, {10, 200, 0, false}, {10, 101, 0, false}, "length = 101 for 10 sequences"},
    {"ShorterSequencesWithBos", 110, {10, 200, 0, true}, {10, 102, 0, true}, "length = 102 for 10 sequences"},
    {"OneSequence", 3, {10, 200, 0, false}, {1, 3, 0, false}, "sequences = 1 and length = 3"},
};

class TooShortTest : public testing::TestWithParam<TooShort> {};

TEST_P(TooShortTest, TheMessageNamesTheLargestSettingThatWorks) {
  const TooShort& row = GetParam();
  const Corpus corpus = Numbered(row.text_tokens);
  const auto cut = CalibrationSequences(corpus, ByteTokenizer(), row.options);
  EXPECT_THAT(cut, FailsWith("CALIBRATION_TEXT_TOO_SHORT", row.advice));
  EXPECT_THAT(cut, FailsWith("CALIBRATION_TEXT_TOO_SHORT", absl::StrCat(row.text_tokens, " tokens")));
  EXPECT_OK(CalibrationSequences(corpus, ByteTokenizer(), row.largest));
  CalibrationOptions beyond = row.largest;
  ++(row.options.length == row.largest.length ? beyond.sequences : beyond.length);
  EXPECT_THAT(CalibrationSequences(corpus, ByteTokenizer(), beyond), FailsWith("CALIBRATION_TEXT_TOO_SHORT", ""));
}

INSTANTIATE_TEST_SUITE_P(EveryAdvice, TooShortTest, testing::ValuesIn(kTooShort),
                         [](const auto& row) { return row.param.name; });

struct OutOfRange {
  const char* name;
  CalibrationOptions options;
  const char* field;
};

const OutOfRange kOutOfRange[] = {
    {"NoSequences", {0, 10, 0, false}, "sequences"},
    {"NegativeSequences", {-1, 10, 0, false}, "sequences"},
    {"TooManySequences", {int64_t{1} << 40, 10, 0, false}, "sequences"},
    {"NoLength", {10, 0, 0, false}, "length"},
    {"BosAlone", {10, 1, 0, true}, "length"},
    {"HugeLength", {10, INT64_MAX, 0, false}, "length"},
    {"TooManyTokens", {1 << 20, 1 << 20, 0, false}, "sequences"},
};

class OutOfRangeTest : public testing::TestWithParam<OutOfRange> {};

TEST_P(OutOfRangeTest, IsRefusedByField) {
  const auto cut = CalibrationSequences(Numbered(100), ByteTokenizer(), GetParam().options);
  EXPECT_THAT(cut, FailsWith("CALIBRATION_OUT_OF_RANGE", GetParam().field));
  EXPECT_EQ(FieldOf(cut.status()), GetParam().field);
}

INSTANTIATE_TEST_SUITE_P(EveryLimit, OutOfRangeTest, testing::ValuesIn(kOutOfRange),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace quantd
