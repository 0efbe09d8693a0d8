#include "core/base/json.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

struct BadText {
  const char* name;
  std::string text;
  const char* reason;
};

class BadJson : public testing::TestWithParam<BadText> {};

TEST_P(BadJson, IsRefusedAndTheDocumentNamed) {
  EXPECT_THAT(ParseJson(GetParam().text, "doc.json"), FailsWith(GetParam().reason, "doc.json"));
}

std::string Nested(int depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

INSTANTIATE_TEST_SUITE_P(Table, BadJson,
                         testing::ValuesIn(std::vector<BadText>{
                             {"Empty", "", "JSON_MALFORMED"},
                             {"OnlySpaces", "   ", "JSON_MALFORMED"},
                             {"CutOff", "{\"a\":", "JSON_MALFORMED"},
                             {"TrailingText", "{} x", "JSON_MALFORMED"},
                             {"SecondValue", "{}{}", "JSON_MALFORMED"},
                             {"TrailingComma", "[1,]", "JSON_MALFORMED"},
                             {"TrailingNul", std::string("{}\0", 3), "JSON_MALFORMED"},
                             {"HiddenBehindNul", std::string("{}\0{\"a\":1}", 10), "JSON_MALFORMED"},
                             {"NulInAString", std::string("\"a\0b\"", 5), "JSON_MALFORMED"},
                             {"Comment", "{} // note", "JSON_MALFORMED"},
                             {"NotANumber", "[NaN]", "JSON_MALFORMED"},
                             {"Infinity", "[Infinity]", "JSON_MALFORMED"},
                             {"MinusInfinity", "[-Infinity]", "JSON_MALFORMED"},
                             {"OverflowsDouble", "[1e999]", "JSON_MALFORMED"},
                             {"LeadingZero", "[01]", "JSON_MALFORMED"},
                             {"SingleQuotes", "{'a':1}", "JSON_MALFORMED"},
                             {"RawControlCharacter", "\"a\nb\"", "JSON_MALFORMED"},
                             {"NotUtf8", "\"\xff\"", "JSON_MALFORMED"},
                             {"OverlongUtf8", "\"\xc0\xaf\"", "JSON_MALFORMED"},
                             {"Utf8Surrogate", "\"\xed\xa0\x80\"", "JSON_MALFORMED"},
                             {"LoneSurrogateEscape", R"("\ud800")", "JSON_MALFORMED"},
                             {"DuplicateKey", R"({"a":1,"a":1})", "JSON_DUPLICATE_KEY"},
                             {"DuplicateKeyByEscape", R"({"a":1,"\u0061":2})", "JSON_DUPLICATE_KEY"},
                             {"DuplicateKeyInside", R"([{"x":{"b":1,"c":2,"b":3}}])", "JSON_DUPLICATE_KEY"},
                             {"Depth65", Nested(65), "JSON_TOO_DEEP"},
                             {"DepthOneMillion", std::string(1'000'000, '['), "JSON_TOO_DEEP"},
                         }),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Json, AcceptsTheLimits) {
  EXPECT_OK(ParseJson(Nested(64), "doc"));
  EXPECT_OK(ParseJson(absl::StrCat("\"", std::string(100, '['), "\""), "doc")) << "brackets in text are no nesting";
  EXPECT_OK(ParseJson(R"({"a":{"x":1},"b":{"x":1}})", "doc")) << "the same key in two objects";
  EXPECT_OK(ParseJson(R"("\u0000")", "doc")) << "an escaped NUL is legal text";
  EXPECT_OK(ParseJson("1234", "doc", /*max_bytes=*/4));
  EXPECT_THAT(ParseJson("12345", "doc", /*max_bytes=*/4), FailsWith("JSON_TOO_LARGE", "limit is 4"));
}

TEST(Json, IntegersAreExactTo63Bits) {
  const auto value = [](const std::string& number) -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(const Json json, ParseJson(absl::StrCat("{\"n\":", number, "}"), "doc"));
    return JsonInt(json, "n", "doc");
  };
  EXPECT_EQ(*value("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(*value("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(*value("9007199254740993"), 9007199254740993) << "2^53 + 1 is no double";
  for (const char* bad : {"9223372036854775808", "18446744073709551615", "18446744073709551616", "1e300", "1.0", "1e3",
                          "-9223372036854775809", "\"1\"", "true", "[1]"}) {
    EXPECT_THAT(value(bad), FailsWith("JSON_FIELD_TYPE", "'n'")) << bad;
  }
}

TEST(Json, FieldsAreTyped) {
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(R"({"i":3,"d":0.5,"b":true,"s":"x","null":null})", "doc"));
  EXPECT_EQ(*JsonIntOr(json, "i", 7, "doc"), 3);
  EXPECT_EQ(*JsonIntOr(json, "absent", 7, "doc"), 7);
  EXPECT_EQ(*JsonIntOr(json, "null", 7, "doc"), 7);
  EXPECT_EQ(*JsonDoubleOr(json, "d", 1, "doc"), 0.5);
  EXPECT_EQ(*JsonDoubleOr(json, "i", 1, "doc"), 3) << "an integer is a number";
  EXPECT_EQ(*JsonBoolOr(json, "b", false, "doc"), true);
  EXPECT_EQ(*JsonString(json, "s", "doc"), "x");
  EXPECT_EQ(*JsonStringOr(json, "absent", "y", "doc"), "y");
  EXPECT_THAT(JsonInt(json, "absent", "doc"), FailsWith("JSON_FIELD_MISSING", "'absent'"));
  EXPECT_THAT(JsonInt(json, "null", "doc"), FailsWith("JSON_FIELD_MISSING", "'null'"));
  EXPECT_THAT(JsonString(json, "i", "doc"), FailsWith("JSON_FIELD_TYPE", "'i'"));
  EXPECT_THAT(JsonBoolOr(json, "i", false, "doc"), FailsWith("JSON_FIELD_TYPE", "'i'"));
  EXPECT_THAT(JsonDoubleOr(json, "s", 0, "doc"), FailsWith("JSON_FIELD_TYPE", "'s'"));
  EXPECT_THAT(JsonInt(Json::array(), "i", "doc"), FailsWith("JSON_FIELD_MISSING", "'i'"));
}

TEST(Json, MessagesAreCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "\xe4\xb8\xad";  // three bytes each
  for (const char* prefix : {"", "a", "ab"}) {
    const Json json = {{"i", prefix + text}};
    const absl::Status status = JsonInt(json, "i", "doc").status();
    EXPECT_LT(status.message().size(), 300u);
    EXPECT_OK(ParseJson(
        absl::StrCat("\"", absl::string_view(status.message()).substr(status.message().find("not \"") + 5), "\""),
        "message"));
  }
}

TEST(Json, TextDependsOnTheValueAlone) {
  ASSERT_OK_AND_ASSIGN(const Json a, ParseJson(R"({"b": 1, "a": [0.1, 1e-7]})", "doc"));
  ASSERT_OK_AND_ASSIGN(const Json b, ParseJson(R"({"a":[0.10,0.0000001],"b":1})", "doc"));
  EXPECT_EQ(JsonText(a), JsonText(b));
  EXPECT_EQ(JsonText(a), "{\n  \"a\": [\n    0.1,\n    1e-07\n  ],\n  \"b\": 1\n}\n");
}

TEST(Json, FilesAreNamed) {
  const std::string path = JoinPath(MakeTempDir(), "x.json");
  EXPECT_THAT(ReadJsonFile(path), FailsWith("FILE_NOT_FOUND", path));
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, "{]"));
  EXPECT_THAT(ReadJsonFile(path), FailsWith("JSON_MALFORMED", path));
  EXPECT_THAT(ReadJsonFile(path, /*max_bytes=*/1), FailsWith("FILE_TOO_LARGE", path));
}

}  // namespace
}  // namespace quantd
