// Which windows the four protocols score.
#include <string>
#include <vector>

#include "core/base/sha256.h"
#include "core/text/corpus.h"
#include "tests/core/text/byte_tokenizer.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int32_t kBos = ByteTokenizer::kBos;
constexpr int32_t kEos = ByteTokenizer::kEos;

// Token i is i modulo 251.
Corpus Counting(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i % 251);
  return {.path = "counting.txt", .sha256 = "", .documents = {text}};
}
TokenSequence Stretch(size_t begin, size_t end) {
  TokenSequence tokens;
  for (size_t i = begin; i < end; ++i) tokens.push_back(static_cast<int32_t>(i % 251));
  return tokens;
}
TokenSequence After(TokenSequence head, const TokenSequence& rest) {
  head.insert(head.end(), rest.begin(), rest.end());
  return head;
}

int64_t Targets(const EvaluationTokens& tokens) {
  int64_t targets = 0;
  for (const EvaluationWindow& window : tokens.windows) {
    targets += static_cast<int64_t>(window.tokens.size()) - window.first_target;
  }
  return targets;
}

TEST(EvaluationWindowsTest, PlainWindowsDoNotOverlapAndDropTheRemainder) {
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens,
                       EvaluationWindows(Counting(109), ByteTokenizer(), "plain", 10, 0));
  EXPECT_EQ(tokens.protocol, "plain");
  EXPECT_EQ(tokens.text_tokens, 109);
  ASSERT_EQ(tokens.windows.size(), 10u);
  for (size_t w = 0; w < 10; ++w) {
    EXPECT_EQ(tokens.windows[w].tokens, Stretch(10 * w, 10 * w + 10));
    EXPECT_EQ(tokens.windows[w].first_target, 1);
  }
  EXPECT_EQ(Targets(tokens), 90);
}

TEST(EvaluationWindowsTest, BosWindowsBeginWithBosAndTakeOneTokenLess) {
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens, EvaluationWindows(Counting(109), ByteTokenizer(), "bos", 10, 0));
  EXPECT_EQ(tokens.text_tokens, 109);
  ASSERT_EQ(tokens.windows.size(), 12u);  // 109 / 9
  for (size_t w = 0; w < 12; ++w) {
    EXPECT_EQ(tokens.windows[w].tokens, After({kBos}, Stretch(9 * w, 9 * w + 9)));
    EXPECT_EQ(tokens.windows[w].first_target, 1) << "the first token of the text is predicted from BOS";
  }
}

TEST(EvaluationWindowsTest, Gptq2048EncodesOnceWithWhatTheTokenizerPutsAround) {
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens,
                       EvaluationWindows(Counting(4094), ByteTokenizer(), "gptq-2048", 0, 0));
  EXPECT_EQ(tokens.text_tokens, 4096);  // BOS and EOS among them
  ASSERT_EQ(tokens.windows.size(), 2u);
  EXPECT_EQ(tokens.windows[0].tokens, After({kBos}, Stretch(0, 2047)));
  EXPECT_EQ(tokens.windows[1].tokens, After(Stretch(2047, 4094), {kEos})) << "no second BOS";
  EXPECT_EQ(Targets(tokens), 2 * 2047);
}

TEST(EvaluationWindowsTest, Gptq2048JoinsDocumentsByABlankLine) {
  Corpus corpus = Counting(1022);
  corpus.documents = {std::string(1022, 'a'), std::string(1023, 'b')};
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens, EvaluationWindows(corpus, ByteTokenizer(), "gptq-2048", 2048, 0));
  const TokenSequence& window = tokens.windows.at(0).tokens;
  EXPECT_EQ(TokenSequence(window.begin() + 1022, window.begin() + 1026), (TokenSequence{'a', '\n', '\n', 'b'}));
}

TEST(EvaluationWindowsTest, Llamacpp512ScoresTheSecondHalfAndPutsBosOverTheFirstToken) {
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens,
                       EvaluationWindows(Counting(1100), ByteTokenizer(), "llamacpp-512", 0, 0));
  ASSERT_EQ(tokens.windows.size(), 2u);
  // The stream is BOS, then the text: the first window loses nothing of the text, the others their first token.
  EXPECT_EQ(tokens.windows[0].tokens, After({kBos}, Stretch(0, 511)));
  EXPECT_EQ(tokens.windows[1].tokens, After({kBos}, Stretch(512, 1023)));
  for (const EvaluationWindow& window : tokens.windows) EXPECT_EQ(window.first_target, 257);
  EXPECT_EQ(Targets(tokens), 2 * 255);
}

TEST(EvaluationWindowsTest, DocumentsAreEncodedApartAndFollowEachOther) {
  const Corpus corpus = {.path = "x.jsonl", .sha256 = "", .documents = {"abc", "", "de"}};
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens, EvaluationWindows(corpus, ByteTokenizer(), "plain", 5, 0));
  EXPECT_EQ(tokens.windows[0].tokens, (TokenSequence{'a', 'b', 'c', 'd', 'e'}));
}

TEST(EvaluationWindowsTest, TheFirstWindowsCountWhenTheyAreLimited) {
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens all, EvaluationWindows(Counting(100), ByteTokenizer(), "plain", 10, 0));
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens some, EvaluationWindows(Counting(100), ByteTokenizer(), "plain", 10, 3));
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens more, EvaluationWindows(Counting(100), ByteTokenizer(), "plain", 10, 99));
  ASSERT_EQ(some.windows.size(), 3u);
  for (size_t w = 0; w < 3; ++w) EXPECT_EQ(some.windows[w].tokens, all.windows[w].tokens);
  EXPECT_EQ(some.text_tokens, 100);
  EXPECT_NE(some.token_stream_sha256, all.token_stream_sha256);
  EXPECT_EQ(more.token_stream_sha256, all.token_stream_sha256);
}

TEST(EvaluationWindowsTest, TheDigestIsOfLittleEndianIds) {
  const Corpus corpus = {.path = "x", .sha256 = "", .documents = {"ab"}};
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens, EvaluationWindows(corpus, ByteTokenizer(), "bos", 3, 0));
  EXPECT_EQ(tokens.token_stream_sha256, Sha256Hex(std::string("\0\1\0\0a\0\0\0b\0\0\0", 12)));
}

struct BadRequest {
  const char* name;
  const char* protocol;
  int64_t context;
  int64_t windows;
  size_t text_tokens;
  bool has_bos;
  const char* reason;
  const char* mentions;
};

constexpr BadRequest kBadRequests[] = {
    {"UnknownProtocol", "strided", 10, 0, 100, true, "PROTOCOL_UNKNOWN", "plain, bos, gptq-2048, llamacpp-512"},
    {"EmptyProtocol", "", 10, 0, 100, true, "PROTOCOL_UNKNOWN", "''"},
    {"ContextOfOne", "plain", 1, 0, 100, true, "CONTEXT_OUT_OF_RANGE", "from 2 to 1048576"},
    {"NoContext", "bos", 0, 0, 100, true, "CONTEXT_OUT_OF_RANGE", "from 2 to"},
    {"NegativeContext", "plain", -5, 0, 100, true, "CONTEXT_OUT_OF_RANGE", "-5"},
    {"HugeContext", "plain", INT64_MAX, 0, 100, true, "CONTEXT_OUT_OF_RANGE", "1048576"},
    {"OtherContextThanFixed", "gptq-2048", 512, 0, 5000, true, "CONTEXT_OUT_OF_RANGE", "0 or 2048"},
    {"OtherContextThanFixed512", "llamacpp-512", 2048, 0, 5000, true, "CONTEXT_OUT_OF_RANGE", "0 or 512"},
    {"NegativeWindows", "plain", 10, -1, 100, true, "WINDOWS_OUT_OF_RANGE", "-1"},
    {"TooShort", "plain", 101, 0, 100, true, "EVALUATION_TEXT_TOO_SHORT", "100 tokens"},
    {"TooShortForBos", "bos", 102, 0, 100, true, "EVALUATION_TEXT_TOO_SHORT", "takes 101"},
    {"TooShortForGptq", "gptq-2048", 0, 0, 2045, true, "EVALUATION_TEXT_TOO_SHORT", "2047 tokens"},
    {"TooShortForLlamacpp", "llamacpp-512", 0, 0, 510, true, "EVALUATION_TEXT_TOO_SHORT", "511 tokens"},
    {"BosWithoutBos", "bos", 10, 0, 100, false, "BOS_UNKNOWN", "byte tokenizer"},
    {"LlamacppWithoutBos", "llamacpp-512", 0, 0, 1000, false, "BOS_UNKNOWN", "llamacpp-512"},
};

class BadRequestTest : public testing::TestWithParam<BadRequest> {};

TEST_P(BadRequestTest, IsRefused) {
  const BadRequest& row = GetParam();
  EXPECT_THAT(
      EvaluationWindows(Counting(row.text_tokens), ByteTokenizer(row.has_bos), row.protocol, row.context, row.windows),
      FailsWith(row.reason, row.mentions));
}

INSTANTIATE_TEST_SUITE_P(EveryRule, BadRequestTest, testing::ValuesIn(kBadRequests),
                         [](const auto& row) { return row.param.name; });

// Where the protocols want no BOS, a tokenizer without one will do.
TEST(EvaluationWindowsTest, PlainAndGptqNeedNoBos) {
  EXPECT_OK(EvaluationWindows(Counting(3000), ByteTokenizer(/*has_bos=*/false), "plain", 10, 0));
  EXPECT_OK(EvaluationWindows(Counting(3000), ByteTokenizer(/*has_bos=*/false), "gptq-2048", 0, 0));
}

}  // namespace
}  // namespace quantd
