// docs/operations.md and docs/job-states.md against the tables of the program, in both directions.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/file_system.h"
#include "server/config/settings.h"
#include "server/metrics/metric_table.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::HasSubstr;

constexpr uint64_t kMaxFileBytes = 4 << 20;

std::string Read(const std::string& path) {
  auto text = RealFileSystem().ReadFile(path, kMaxFileBytes);
  EXPECT_OK(text);
  return text.ok() ? *std::move(text) : "";
}

// From a line that begins with `heading` to the next heading of a section.
std::string Section(absl::string_view text, absl::string_view heading) {
  const size_t begin = text.find(absl::StrCat("\n", heading));
  EXPECT_NE(begin, absl::string_view::npos) << heading;
  if (begin == absl::string_view::npos) return "";
  return std::string(text.substr(begin, text.find("\n#", begin + 1) - begin));
}

std::string Operations(absl::string_view heading) {
  return Section(Read(SourcePath("docs/operations.md")), heading);
}

// The row of a table whose first cell is `name` in backticks; "" when there is none.
std::string RowOf(const std::string& section, absl::string_view name) {
  const std::string start = absl::StrCat("| `", name, "` |");
  for (const absl::string_view line : absl::StrSplit(section, '\n')) {
    if (absl::StartsWith(line, start)) return std::string(line);
  }
  return "";
}

// The names in backticks that begin the rows of a section's tables.
std::vector<std::string> RowNames(const std::string& section) {
  std::vector<std::string> names;
  for (const absl::string_view line : absl::StrSplit(section, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits('`', 2));
    if (parts.size() == 3 && parts[0] == "| ") names.push_back(parts[1]);
  }
  return names;
}

// How the table of settings shows a default and a range.
std::string DefaultCell(const Setting& setting) {
  const std::string text = SettingText(setting, ServerConfig());
  if (!std::holds_alternative<std::string ServerConfig::*>(setting.member)) return text;
  return text.empty() ? "empty" : absl::StrCat("`", text, "`");
}
std::string RangeCell(const Setting& setting) {
  const bool integer = std::holds_alternative<int64_t ServerConfig::*>(setting.member);
  return integer ? absl::StrCat(" ", setting.minimum, "-", setting.maximum, " ") : " ";
}

TEST(OperationsDocument, HasEverySettingWithItsDefaultAndRange) {
  const std::string section = Operations("## 2. Settings");
  for (const Setting& setting : SettingsTable()) {
    const std::string row = RowOf(section, setting.name);
    EXPECT_THAT(row, HasSubstr(absl::StrCat("` | ", DefaultCell(setting), " |", RangeCell(setting), "| ")))
        << setting.name;
  }
  for (const std::string& name : RowNames(section)) EXPECT_NE(FindSetting(name), nullptr) << name;
}

TEST(OperationsDocument, HasEveryMetricWithItsTypeAndLabels) {
  const std::string section = Operations("## 5. Metrics");
  const char* const types[] = {"counter", "gauge", "histogram"};
  std::set<std::string> known;
  for (const MetricRow& metric : MetricTable()) {
    known.insert(metric.name);
    const std::string row = RowOf(section, metric.name);
    EXPECT_THAT(row, HasSubstr(absl::StrCat("` | ", types[static_cast<size_t>(metric.type)], " | "))) << metric.name;
    for (const MetricLabel& label : metric.labels) {
      EXPECT_THAT(row, HasSubstr(absl::StrCat("`", label.name, "`"))) << metric.name;
    }
  }
  for (const std::string& name : RowNames(section)) {
    if (absl::StrContains(name, ' ') || absl::StrContains(name, '(')) continue;  // an alert's condition
    EXPECT_EQ(known.count(name), 1u) << name;
  }
}

// A set may be given at one metric and serve for others. Presets, versions, methods and codes are described instead.
TEST(OperationsDocument, HasTheValuesOfEveryClosedLabel) {
  const std::string section = Operations("## 5. Metrics");
  const std::set<LabelValues> described = {LabelValues::kPreset, LabelValues::kVersion, LabelValues::kMethod,
                                           LabelValues::kCode};
  for (const MetricRow& metric : MetricTable()) {
    for (const MetricLabel& label : metric.labels) {
      if (described.count(label.values) > 0) continue;
      const std::string values = absl::StrJoin(FixedLabelValues(label.values), ", ");
      EXPECT_THAT(section, HasSubstr(absl::StrCat("`", label.name, "` = ", values))) << metric.name;
    }
  }
}

std::vector<std::string> KnownFailureReasons() {
  const auto names = FixedLabelValues(LabelValues::kFailureReason);
  std::vector<std::string> reasons(names.begin(), names.end());
  reasons.erase(std::remove(reasons.begin(), reasons.end(), "other"), reasons.end());
  EXPECT_FALSE(reasons.empty());
  return reasons;
}

TEST(FailureReasons, EachKnownOneIsExplained) {
  const std::string remedies = Operations("### In a failed job");
  const std::string causes = Section(Read(SourcePath("docs/job-states.md")), "## Why jobs fail");
  for (const std::string& reason : KnownFailureReasons()) {
    EXPECT_THAT(remedies, HasSubstr(absl::StrCat("`", reason, "`")));
    EXPECT_THAT(causes, HasSubstr(absl::StrCat("`", reason, "`")));
  }
}

bool IsSource(const std::filesystem::path& path) {
  return (path.extension() == ".cc" || path.extension() == ".h") && path.filename() != "metric_table.cc";
}

// A label for a reason that no code gives would stay at 0 for ever, and what it was meant for be counted as "other".
TEST(FailureReasons, EachKnownOneIsGivenSomewhere) {
  std::string sources;
  for (const char* folder : {"core", "server/scheduler", "server/artifacts", "worker"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(SourcePath(folder))) {
      if (entry.is_regular_file() && IsSource(entry.path())) sources += Read(entry.path().string());
    }
  }
  for (const std::string& reason : KnownFailureReasons()) {
    EXPECT_TRUE(absl::StrContains(sources, absl::StrCat("\"", reason, "\""))) << reason;
  }
}

}  // namespace
}  // namespace quantd
