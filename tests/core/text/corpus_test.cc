// Text files: plain, JSON lines, JSON lists, and what is wrong with them.
#include "core/text/corpus.h"

#include <string>
#include <vector>

#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "tests/core/text/tokenizer_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using Documents = std::vector<std::string>;

struct GoodFile {
  const char* name;
  const char* file;
  const char* bytes;
  Documents documents;
};

const GoodFile kGoodFiles[] = {
    {"PlainTextIsOneDocument", "a.txt", "one\n\ntwo\n", {"one\n\ntwo\n"}},
    {"OtherEndingsArePlainText", "wiki.test.raw", "{\"text\": \"x\"}\n", {"{\"text\": \"x\"}\n"}},
    {"JsonLines", "a.jsonl", "{\"text\": \"one\"}\n{\"id\": 7, \"text\": \"tw\\u00f6\"}\n", {"one", "tw\u00f6"}},
    {"JsonLinesWithoutLastNewline", "a.jsonl", "{\"text\": \"one\"}", {"one"}},
    {"BlankLinesAndCarriageReturns",
     "a.jsonl",
     "{\"text\": \"one\"}\r\n\r\n  \n{\"text\": \"two\"}\r\n",
     {"one", "two"}},
    {"EmptyDocumentsAreKept", "a.jsonl", "{\"text\": \"\"}\n{\"text\": \"two\"}\n", {"", "two"}},
    {"JsonList", "a.json", "[\"one\", \"two\\n\"]", {"one", "two\n"}},
};

class GoodCorpusTest : public testing::TestWithParam<GoodFile> {};

TEST_P(GoodCorpusTest, IsRead) {
  const GoodFile& row = GetParam();
  const std::string path = JoinPath(FolderWith(row.file, row.bytes), row.file);
  ASSERT_OK_AND_ASSIGN(const Corpus corpus, ReadCorpus(path));
  EXPECT_EQ(corpus.documents, row.documents);
  EXPECT_EQ(corpus.path, path);
  EXPECT_EQ(corpus.sha256, Sha256Hex(row.bytes));
}

INSTANTIATE_TEST_SUITE_P(EveryForm, GoodCorpusTest, testing::ValuesIn(kGoodFiles),
                         [](const auto& row) { return row.param.name; });

struct BadFile {
  const char* name;
  const char* file;
  std::string bytes;
  const char* reason;
  const char* mentions;
};

const BadFile kBadFiles[] = {
    {"EmptyFile", "a.txt", "", "TEXT_EMPTY", "no text"},
    {"EmptyJsonLines", "a.jsonl", "\n\n", "TEXT_EMPTY", "no text"},
    {"EmptyTexts", "a.jsonl", "{\"text\":\"\"}\n{\"text\":\"\"}", "TEXT_EMPTY", "no text"},
    {"EmptyJsonList", "a.json", "[]", "TEXT_EMPTY", "no text"},
    {"NotUtf8", "a.txt", "good \xC3\x28 bad", "TEXT_NOT_UTF8", "byte 5 (0xC3)"},
    {"CutOffCharacter", "a.txt", "good \xE4\xBD", "TEXT_NOT_UTF8", "byte 5 (0xE4)"},
    {"Surrogate", "a.txt", "\xED\xA0\x80", "TEXT_NOT_UTF8", "byte 0 (0xED)"},
    {"OverlongSlash", "a.txt", "a\xC0\xAF", "TEXT_NOT_UTF8", "byte 1 (0xC0)"},
    {"Utf16", "a.txt", std::string("\xFF\xFEh\0i\0", 6), "TEXT_NOT_UTF8", "iconv"},
    {"NotUtf8InJson", "a.jsonl", "{\"text\":\"\xFF\"}", "TEXT_NOT_UTF8", "byte 9"},
    {"LineIsNoJson", "a.jsonl", "{\"text\":\"x\"}\nhello\n", "JSONL_MALFORMED", "line 2"},
    {"LineIsAList", "a.jsonl", "{\"text\":\"x\"}\n\n[1]\n", "JSONL_MALFORMED", "line 3"},
    {"LineWithoutText", "a.jsonl", "{\"txt\":\"x\"}\n", "JSONL_MALFORMED", "'text'"},
    {"TextIsANumber", "a.jsonl", "{\"text\":7}\n", "JSONL_MALFORMED", "'text'"},
    {"TwoObjectsOnALine", "a.jsonl", "{\"text\":\"x\"}{\"text\":\"y\"}\n", "JSONL_MALFORMED", "line 1"},
    {"LoneSurrogate", "a.jsonl", "{\"text\":\"\\ud800\"}\n", "JSONL_MALFORMED", "line 1"},
    {"JsonIsAnObject", "a.json", "{\"text\":\"x\"}", "JSONL_MALFORMED", "a list of texts"},
    {"JsonEntryIsAnObject", "a.json", "[\"x\", {\"text\":\"y\"}]", "JSONL_MALFORMED", "entry 2"},
    {"JsonCutOff", "a.json", "[\"x\", \"y", "JSONL_MALFORMED", "not valid JSON"},
    {"JsonTooDeep", "a.json", std::string(1000, '['), "JSONL_MALFORMED", "deeper than 64"},
};

class BadCorpusTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadCorpusTest, IsRefusedByFileAndPlace) {
  const BadFile& row = GetParam();
  const std::string path = JoinPath(FolderWith(row.file, row.bytes), row.file);
  EXPECT_THAT(ReadCorpus(path), FailsWith(row.reason, row.mentions));
  EXPECT_THAT(ReadCorpus(path), FailsWith(row.reason, path));
}

INSTANTIATE_TEST_SUITE_P(EveryRule, BadCorpusTest, testing::ValuesIn(kBadFiles),
                         [](const auto& row) { return row.param.name; });

TEST(CorpusTest, AnAbsentFileIsNamed) {
  const std::string path = JoinPath(MakeTempDir(), "absent.txt");
  EXPECT_THAT(ReadCorpus(path), FailsWith("FILE_NOT_FOUND", path));
  EXPECT_FALSE(ReadCorpus(MakeTempDir()).ok()) << "a folder is no text";
}

TEST(CorpusTest, AHugeJsonListIsSentToJsonLines) {
  const std::string bytes = "[\"" + std::string((64 << 20), 'x') + "\"]";
  const std::string path = JoinPath(FolderWith("a.json", bytes), "a.json");
  EXPECT_THAT(ReadCorpus(path), FailsWith("FILE_TOO_LARGE", ".jsonl"));
}

}  // namespace
}  // namespace quantd
