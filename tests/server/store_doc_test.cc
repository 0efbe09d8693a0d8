// docs/store.md against the schema and the list of durable steps.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/durable_step.h"
#include "core/base/file_system.h"
#include "server/store/sql_schema.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

std::string Document() {
  auto text = RealFileSystem().ReadFile(SourcePath("docs/store.md"), 1 << 20);
  EXPECT_OK(text);
  return text.ok() ? *std::move(text) : "";
}

// The word after each `phrase` of the schema: "CREATE TABLE" gives the tables.
std::vector<std::string> NamesAfter(absl::string_view phrase) {
  std::vector<std::string> names;
  const std::string schema = SchemaSql(SqlDialect::kSqlite);
  for (const absl::string_view line : absl::StrSplit(schema, '\n')) {
    if (!absl::StartsWith(line, phrase)) continue;
    const std::vector<std::string> words = absl::StrSplit(line.substr(phrase.size()), ' ', absl::SkipEmpty());
    names.push_back(words.front());
  }
  return names;
}

TEST(StoreDocument, NamesEveryTableAndIndex) {
  const std::string document = Document();
  for (const char* phrase : {"CREATE TABLE", "CREATE INDEX"}) {
    const std::vector<std::string> names = NamesAfter(phrase);
    EXPECT_GE(names.size(), 9u) << phrase;
    for (const std::string& name : names) EXPECT_THAT(document, testing::HasSubstr(absl::StrCat("`", name, "`")));
  }
}

TEST(StoreDocument, CrashArgumentIsTheListOfDurableSteps) {
  const std::string document = Document();
  std::set<std::string> rows;
  for (const DurableStepInfo& step : DurableSteps()) {
    const std::string row = absl::StrCat("| `", step.name, "` | ", step.crash_before, " | ", step.crash_after, " |");
    rows.insert(row);
    EXPECT_THAT(document, testing::HasSubstr(absl::StrCat("\n", row, "\n")));
  }
  const size_t begin = document.find("| step | crash before | crash after |");
  ASSERT_NE(begin, std::string::npos);
  const size_t end = document.find("\n\n", begin);
  const std::vector<std::string> lines = absl::StrSplit(document.substr(begin, end - begin), '\n');
  EXPECT_EQ(lines.size(), rows.size() + 2) << "a heading, a rule and the steps, no other row";
}

}  // namespace
}  // namespace quantd
