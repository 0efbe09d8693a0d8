// vocab.json with merges.txt, and the small files beside a tokenizer.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/file_system.h"
#include "core/text/tokenizer.h"
#include "tests/core/text/tokenizer_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kMalformed[] = "TOKENIZER_MALFORMED";
constexpr char kVocabulary[] = R"({"a":0,"b":1,"ab":2,"Ġ":3,"</s>":4})";
constexpr char kMerges[] = "#version: 0.2\na b\n";

TEST(VocabAndMergesTest, EqualsTokenizerJsonOnAWholeBook) {
  const std::string folder = SourcePath("data/models/quantd-tiny-opt");
  ASSERT_OK_AND_ASSIGN(const auto from_json, OpenTokenizerJson(JoinPath(folder, "tokenizer.json")));
  ASSERT_OK_AND_ASSIGN(const auto from_two, OpenVocabAndMerges(folder));
  ASSERT_OK_AND_ASSIGN(const std::string text,
                       RealFileSystem().ReadFile(SourcePath("data/books/heldout.txt"), 1 << 24));
  ASSERT_OK_AND_ASSIGN(const auto expected, from_json->EncodeWithSpecial(text));
  ASSERT_OK_AND_ASSIGN(const auto ids, from_two->EncodeWithSpecial(text));
  EXPECT_GT(ids.size(), 100000u);
  EXPECT_TRUE(ids == expected);
  EXPECT_EQ(from_two->vocabulary_size(), from_json->vocabulary_size());
  EXPECT_EQ(from_two->bos_id(), from_json->bos_id());
  EXPECT_EQ(from_two->eos_id(), from_json->eos_id());
  EXPECT_EQ(from_two->adds_bos(), from_json->adds_bos());
}

TEST(VocabAndMergesTest, ConfiguredTokensAreFoundInTheText) {
  const std::string folder = FolderWith("vocab.json", kVocabulary);
  AddFile(folder, "merges.txt", "#version: 0.2\r\na b\r\n");
  AddFile(folder, "tokenizer_config.json", R"({"bos_token": {"content": "</s>"}, "add_bos_token": true})");
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenTokenizer(folder));
  ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->EncodeWithSpecial("ab</s> a"));
  EXPECT_EQ(ids, (std::vector<int32_t>{4, 2, 4, 3, 0}));
  EXPECT_TRUE(tokenizer->adds_bos());
}

struct BadFiles {
  const char* name;
  const char* vocabulary;
  const char* merges;
  const char* config;  // tokenizer_config.json; "": none
  const char* mentions;
};

constexpr BadFiles kBadFiles[] = {
    {"VocabularyNotJson", "{", kMerges, "", "vocab.json"},
    {"VocabularyIsAList", "[]", kMerges, "", "vocab.json: must be an object"},
    {"VocabularyEmpty", "{}", "", "", "the vocabulary is empty"},
    {"IdIsAText", R"({"a":"x"})", "", "", "token 'a'"},
    {"IdNegative", R"({"a":-5})", "", "", "id -5"},
    {"IdTwice", R"({"a":1,"b":1})", "", "", "share id 1"},
    {"TokenTwice", R"({"a":1,"a":2})", "", "", "twice"},
    {"MergeOfOne", kVocabulary, "a b\nab\n", "", "merge 1"},
    {"MergeOfThree", kVocabulary, "a b a\n", "", "merge 0"},
    {"MergeUnknown", kVocabulary, "a z\n", "", "'z' is not in the vocabulary"},
    {"MergesNotUtf8", kVocabulary, "a b\n\xC3 b\n", "", "byte 4 is not UTF-8"},
    {"ConfigNotJson", kVocabulary, kMerges, "{\"bos_token\":", "tokenizer_config.json"},
    {"ConfigIsAList", kVocabulary, kMerges, "[]", "tokenizer_config.json: must be an object"},
    {"BosIsANumber", kVocabulary, kMerges, R"({"bos_token":1})", "'bos_token' must be a text"},
    {"AddBosIsAText", kVocabulary, kMerges, R"({"add_bos_token":"yes"})", "'add_bos_token' must be true or false"},
    {"AddBosWithoutBos", kVocabulary, kMerges, R"({"add_bos_token":true})", "'bos_token' names no token"},
    {"AddEosUnknown", kVocabulary, kMerges, R"({"add_eos_token":true,"eos_token":"<eos>"})",
     "'eos_token' names no token"},
    {"AddedTokensAreAList", kVocabulary, kMerges, R"({"added_tokens_decoder":[]})", "'added_tokens_decoder'"},
    {"AddedTokenKeyIsNoNumber", kVocabulary, kMerges, R"({"added_tokens_decoder":{"x":{"content":"y"}}})",
     "'x' is no token id"},
    {"AddedTokenTakesAnId", kVocabulary, kMerges, R"({"added_tokens_decoder":{"0":{"content":"y"}}})", "share id 0"},
    {"AddedTokenIdHuge", kVocabulary, kMerges, R"({"added_tokens_decoder":{"99999999":{"content":"y"}}})",
     "outside 0..16777215"},
};

class BadVocabAndMergesTest : public testing::TestWithParam<BadFiles> {};

TEST_P(BadVocabAndMergesTest, IsRefused) {
  const BadFiles& row = GetParam();
  const std::string folder = FolderWith("vocab.json", row.vocabulary);
  AddFile(folder, "merges.txt", row.merges);
  if (*row.config != '\0') AddFile(folder, "tokenizer_config.json", row.config);
  EXPECT_THAT(OpenTokenizer(folder), FailsWith(kMalformed, row.mentions));
  EXPECT_THAT(OpenTokenizer(folder), FailsWith(kMalformed, folder));
}

INSTANTIATE_TEST_SUITE_P(EveryFile, BadVocabAndMergesTest, testing::ValuesIn(kBadFiles),
                         [](const auto& row) { return row.param.name; });

TEST(VocabAndMergesTest, OneFileAloneIsNoTokenizer) {
  const std::string folder = FolderWith("vocab.json", kVocabulary);
  EXPECT_THAT(OpenTokenizer(folder), FailsWith("TOKENIZER_MISSING", "merges.txt"));
  EXPECT_THAT(OpenVocabAndMerges(folder), FailsWith("TOKENIZER_MISSING", "merges.txt"));
}

}  // namespace
}  // namespace quantd
