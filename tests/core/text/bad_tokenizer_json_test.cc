// tokenizer.json, broken in one place each.
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/text/tokenizer.h"
#include "tests/core/text/tokenizer_files.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kMalformed[] = "TOKENIZER_MALFORMED";
constexpr char kUnsupported[] = "TOKENIZER_UNSUPPORTED";

struct BadDocument {
  const char* name;
  const char* patch;     // merged into the small tokenizer (RFC 7396)
  const char* reason;    // expected stable reason
  const char* mentions;  // part, token or limit in the message
};

// clang-format off
constexpr BadDocument kBadDocuments[] = {
    {"NoModel", R"({"model":null})", kMalformed, "'model' must be an object"},
    {"ModelIsAList", R"({"model":[]})", kMalformed, "'model' must be an object"},
    {"WordPiece", R"({"model":{"type":"WordPiece"}})", kUnsupported, "WordPiece"},
    {"Unigram", R"({"model":{"type":"Unigram"}})", kUnsupported, "Unigram"},
    {"TypeIsANumber", R"({"model":{"type":7}})", kUnsupported, "model type 7"},
    {"Dropout", R"({"model":{"dropout":0.1}})", kUnsupported, "dropout"},
    {"WordSuffix", R"({"model":{"end_of_word_suffix":"</w>"}})", kUnsupported, "end_of_word_suffix"},
    {"SubwordPrefix", R"({"model":{"continuing_subword_prefix":"##"}})", kUnsupported, "continuing_subword_prefix"},
    {"NoVocabulary", R"({"model":{"vocab":null}})", kMalformed, "'model.vocab'"},
    {"EmptyVocabulary", R"({"model":{"vocab":{"a":null,"b":null,"ab":null,"Ġ":null},"merges":[]}})", kMalformed, "the vocabulary is empty"},
    {"VocabularyIsAList", R"({"model":{"vocab":["a"]}})", kMalformed, "'model.vocab'"},
    {"IdIsAText", R"({"model":{"vocab":{"a":"0"}}})", kMalformed, "token 'a'"},
    {"IdIsAFraction", R"({"model":{"vocab":{"a":0.5}}})", kMalformed, "token 'a'"},
    {"IdNegative", R"({"model":{"vocab":{"a":-1}}})", kMalformed, "id -1"},
    {"IdAbove2To24", R"({"model":{"vocab":{"a":16777216}}})", kMalformed, "outside 0..16777215"},
    {"IdAbove2To63", R"({"model":{"vocab":{"a":9223372036854775808}}})", kMalformed, "token 'a'"},
    {"IdTwice", R"({"model":{"vocab":{"a":1}}})", kMalformed, "share id 1"},
    {"MergesAreAnObject", R"({"model":{"merges":{}}})", kMalformed, "'model.merges'"},
    {"MergeOfThree", R"({"model":{"merges":[["a","b","a"]]}})", kMalformed, "merge 0"},
    {"MergeOfNumbers", R"({"model":{"merges":[["a","b"],[1,2]]}})", kMalformed, "merge 1"},
    {"OldMergeWithoutBlank", R"({"model":{"merges":["ab"]}})", kMalformed, "merge 0"},
    {"OldMergeOfThree", R"({"model":{"merges":["a b a"]}})", kMalformed, "merge 0"},
    {"MergePartUnknown", R"({"model":{"merges":[["a","c"]]}})", kMalformed, "'c' is not in the vocabulary"},
    {"MergeResultUnknown", R"({"model":{"merges":[["b","a"]]}})", kMalformed, "'ba' is not in the vocabulary"},
    {"UnknownTokenUnknown", R"({"model":{"unk_token":"<unk>"}})", kMalformed, "unk_token '<unk>'"},
    {"FlagIsAText", R"({"model":{"byte_fallback":"yes"}})", "JSON_FIELD_TYPE", "byte_fallback"},
    {"AddedTokensAreAnObject", R"({"added_tokens":{}})", kMalformed, "'added_tokens' must be a list"},
    {"AddedTokenIsANumber", R"({"added_tokens":[4]})", kMalformed, "added_tokens"},
    {"AddedTokenWithoutId", R"({"added_tokens":[{"content":"<s>"}]})", kMalformed, "'id'"},
    {"AddedTokenWithoutContent", R"({"added_tokens":[{"id":4}]})", kMalformed, "'content'"},
    {"AddedTokenIdNegative", R"({"added_tokens":[{"id":-4,"content":"<s>"}]})", kMalformed, "added token -4"},
    {"AddedTokenIdHuge", R"({"added_tokens":[{"id":4294967296,"content":"<s>"}]})", kMalformed, "outside 0..16777215"},
    {"AddedTokenFlagIsANumber", R"({"added_tokens":[{"id":4,"content":"<s>","lstrip":1}]})", kMalformed, "lstrip"},
    {"AddedTokenTwice", R"({"added_tokens":[{"id":4,"content":"x"},{"id":4,"content":"x"}]})", kMalformed, "listed twice"},
    {"AddedTokenTakesAnId", R"({"added_tokens":[{"id":2,"content":"<s>"}]})", kMalformed, "share id 2"},
    {"AddedTokenWithTwoIds", R"({"added_tokens":[{"id":4,"content":"ab"}]})", kMalformed, "in the vocabulary 2"},
    {"NormalizerUnknown", R"({"normalizer":{"type":"NFKC"}})", kUnsupported, "normalizer 'NFKC'"},
    {"NormalizerIsAText", R"({"normalizer":"NFC"})", kMalformed, "normalizer"},
    {"NormalizerWithoutType", R"({"normalizer":{"kind":"NFC"}})", kMalformed, "'type'"},
    {"SequenceWithoutMembers", R"({"normalizer":{"type":"Sequence"}})", kMalformed, "'normalizers' must be a list"},
    {"PrependIsANumber", R"({"normalizer":{"type":"Prepend","prepend":1}})", "JSON_FIELD_TYPE", "prepend"},
    {"ReplaceWithoutPattern", R"({"normalizer":{"type":"Replace","content":"a"}})", kMalformed, "'pattern'"},
    {"ReplaceByALongText", R"({"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"0123456789012345678901234567890123456789012345678901234567890123456789"}})", kUnsupported, "70 bytes (at most 64)"},
    {"PreTokenizerUnknown", R"({"pre_tokenizer":{"type":"BertPreTokenizer"}})", kUnsupported, "'BertPreTokenizer'"},
    {"SplitBehaviorUnknown", R"({"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Doubled"}})", kUnsupported, "behavior 'Doubled'"},
    {"PatternOfTwo", R"({"pre_tokenizer":{"type":"Split","pattern":{"String":"a","Regex":"a"}}})", kMalformed, "'pattern'"},
    {"RegexUnbalanced", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"}}})", kUnsupported, "(a"},
    {"RegexClosedTooOften", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a)(b"}}})", kUnsupported, "a)(b"},
    {"RegexBackReference", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a)\\1"}}})", kUnsupported, "escape '\\1'"},
    {"RegexRecursion", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a(?R)?b"}}})", kUnsupported, "(?R)"},
    {"RegexCallout", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?C)a"}}})", kUnsupported, "(?C)"},
    {"RegexVerb", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(*LIMIT_MATCH=1)a"}}})", kUnsupported, "LIMIT_MATCH"},
    {"RegexHugeInterval", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a{100000}"}}})", kUnsupported, "above 1000"},
    {"RegexNestedIntervals", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?:(?:(?:ab{1000}){1000}){1000}){1000}"}}})", kUnsupported, "too large"},
    {"RegexPropertyUnknown", R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\p{Klingon}"}}})", kUnsupported, "Klingon"},
    {"TwoByteLevels", R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"ByteLevel"}]}})", kUnsupported, "after 'ByteLevel'"},
    {"MetaspaceOfTwoCharacters", R"({"pre_tokenizer":{"type":"Metaspace","replacement":"__"}})", kMalformed, "one character"},
    {"MetaspaceContradiction", R"({"pre_tokenizer":{"type":"Metaspace","add_prefix_space":false,"prepend_scheme":"always"}})", kMalformed, "prepend_scheme"},
    {"MetaspaceSchemeUnknown", R"({"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"last"}})", kUnsupported, "'last'"},
    {"DelimiterEmpty", R"({"pre_tokenizer":{"type":"CharDelimiterSplit","delimiter":""}})", kMalformed, "one character"},
    {"DecoderUnknown", R"({"decoder":{"type":"WordPiece"}})", kUnsupported, "decoder 'WordPiece'"},
    {"DecoderReplacesByRegex", R"({"decoder":{"type":"Replace","pattern":{"Regex":"a"},"content":""}})", kUnsupported, "regular expression"},
    {"DecoderReplacesNothing", R"({"decoder":{"type":"Replace","pattern":{"String":""},"content":"a"}})", kMalformed, "the pattern is empty"},
    {"DecoderStripsNothing", R"({"decoder":{"type":"Strip","content":"","start":1,"stop":0}})", kMalformed, "'content' is empty"},
    {"DecoderGrows", R"({"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaa"},{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaa"}]}})", kUnsupported, "much longer"},
    {"PostProcessorUnknown", R"({"post_processor":{"type":"BertProcessing"}})", kUnsupported, "'BertProcessing'"},
    {"TemplateWithoutText", R"({"post_processor":{"type":"TemplateProcessing","single":[],"special_tokens":{}}})", kMalformed, "lacks sequence A"},
    {"TemplateWithTextTwice", R"({"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}]}})", kMalformed, "sequence A once"},
    {"TemplateTokenUndefined", R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]}})", kMalformed, "no ids for '<s>'"},
    {"TemplateTokenNegative", R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[-1]}}}})", kMalformed, "no token id"},
    {"TemplateTokenAbsent", R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[77]}}}})", kMalformed, "there is no token 77"},
};
// clang-format on

class BadTokenizerJsonTest : public testing::TestWithParam<BadDocument> {};

TEST_P(BadTokenizerJsonTest, IsRefusedByFileAndPart) {
  Json document = SmallTokenizerDocument();
  document.merge_patch(Json::parse(GetParam().patch));
  const std::string folder = FolderWith("tokenizer.json", document.dump());
  const auto tokenizer = OpenTokenizer(folder);
  EXPECT_THAT(tokenizer, FailsWith(GetParam().reason, GetParam().mentions));
  EXPECT_THAT(tokenizer, FailsWith(GetParam().reason, JoinPath(folder, "tokenizer.json")));
}

INSTANTIATE_TEST_SUITE_P(EveryPart, BadTokenizerJsonTest, testing::ValuesIn(kBadDocuments),
                         [](const auto& row) { return row.param.name; });

// All rows differ from this one in one place.
TEST(SmallTokenizerTest, EncodesAndDecodes) {
  const std::string folder = FolderWith("tokenizer.json", SmallTokenizerDocument().dump());
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenTokenizer(folder));
  ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode("ab<s> ba"));
  EXPECT_EQ(ids, (std::vector<int32_t>{2, 4, 3, 1, 0}));
  EXPECT_EQ(tokenizer->Decode(ids, /*skip_special=*/false), "ab<s> ba");
  EXPECT_EQ(tokenizer->Decode(ids, /*skip_special=*/true), "ab ba");
  EXPECT_EQ(tokenizer->vocabulary_size(), 5);
}

struct BadBytes {
  const char* name;
  std::string bytes;
  const char* mentions;
};

class BadTokenizerBytesTest : public testing::TestWithParam<BadBytes> {};

TEST_P(BadTokenizerBytesTest, IsRefused) {
  const std::string folder = FolderWith("tokenizer.json", GetParam().bytes);
  EXPECT_THAT(OpenTokenizer(folder), FailsWith(kMalformed, GetParam().mentions));
}

INSTANTIATE_TEST_SUITE_P(
    NoDocument, BadTokenizerBytesTest,
    testing::Values(BadBytes{"Empty", "", "not valid JSON"},
                    BadBytes{"CutOff", SmallTokenizerDocument().dump().substr(0, 200), "not valid JSON"},
                    BadBytes{"NotUtf8", "{\"model\":\"\xFF\"}", "not valid JSON"},
                    BadBytes{"NulByte", std::string("{}\0", 3), "NUL"}, BadBytes{"AList", "[]", "must be an object"},
                    BadBytes{"KeyTwice", R"({"model":{},"model":{}})", "twice"},
                    BadBytes{"TooDeep", std::string(100000, '['), "deeper than 64"}),
    [](const auto& row) { return row.param.name; });

TEST(TokenizerLimitsTest, StepsAreCounted) {
  Json document = SmallTokenizerDocument();
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  for (int i = 0; i < 64; ++i) document["normalizer"]["normalizers"].push_back({{"type", "NFC"}});
  EXPECT_OK(OpenTokenizer(FolderWith("tokenizer.json", document.dump())));
  document["normalizer"]["normalizers"].push_back({{"type", "NFC"}});
  EXPECT_THAT(OpenTokenizer(FolderWith("tokenizer.json", document.dump())),
              FailsWith(kUnsupported, "more than 64 steps"));
}

TEST(TokenizerLimitsTest, AddedTokensAreLimitedInAll) {
  Json document = SmallTokenizerDocument();
  for (int i = 0; i < 4200; ++i) {
    document["added_tokens"].push_back({{"id", 5 + i}, {"content", absl::StrCat(10000 + i, std::string(1000, 'x'))}});
  }
  EXPECT_THAT(OpenTokenizer(FolderWith("tokenizer.json", document.dump())), FailsWith(kMalformed, "4194304 bytes"));
}

TEST(TokenizerLimitsTest, MessagesQuoteLongNamesInPart) {
  Json document = SmallTokenizerDocument();
  document["model"]["type"] = std::string(1 << 20, 'W');
  const auto tokenizer = OpenTokenizer(FolderWith("tokenizer.json", document.dump()));
  EXPECT_THAT(tokenizer, FailsWith(kUnsupported, "WWWW"));
  EXPECT_LT(tokenizer.status().message().size(), 1000u);
}

TEST(TokenizerLimitsTest, AFolderWithoutTokenizerIsNamed) {
  const std::string folder = FolderWith("config.json", "{}");
  EXPECT_THAT(OpenTokenizer(folder), FailsWith("TOKENIZER_MISSING", folder));
  EXPECT_EQ(OpenTokenizer(folder).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quantd
