// docs/methods.md and the registries name the same presets, choices and parameters.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/file_system.h"
#include "core/quant/parameter_table.h"
#include "core/quant/part_registry.h"
#include "core/quant/preset_table.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// "## Grid uniform" -> the lines below it.
using Sections = std::map<std::string, std::vector<std::string>>;

absl::StatusOr<Sections> ReadSections() {
  ASSIGN_OR_RETURN(const std::string page, RealFileSystem().ReadFile(SourcePath("docs/methods.md"), 1 << 20));
  Sections sections;
  std::vector<std::string>* current = nullptr;
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    if (absl::ConsumePrefix(&line, "## ")) {
      current = &sections[std::string(line)];
    } else if (absl::StartsWith(line, "# ")) {
      current = nullptr;
    } else if (current != nullptr) {
      current->emplace_back(line);
    }
  }
  return sections;
}

bool HasLine(const std::vector<std::string>& lines, absl::string_view beginning) {
  for (const std::string& line : lines) {
    if (absl::StartsWith(line, beginning)) return true;
  }
  return false;
}

bool Contains(const std::vector<std::string>& lines, absl::string_view text) {
  for (const std::string& line : lines) {
    if (absl::StrContains(line, text)) return true;
  }
  return false;
}

// "Grid uniform"
std::string HeadingOf(const PartInfo& part, absl::string_view choice) {
  std::string heading = absl::StrCat(part.name, " ", choice);
  heading[0] = absl::ascii_toupper(static_cast<unsigned char>(heading[0]));
  return heading;
}

TEST(MethodsDoc, HasOneHeadingForEveryPresetAndChoiceAndNoOther) {
  std::set<std::string> expected;
  for (const PresetInfo& preset : PresetTable()) expected.insert(absl::StrCat("Preset ", preset.name));
  for (const PartInfo& part : Parts()) {
    for (const ChoiceInfo* choice : part.choices()) expected.insert(HeadingOf(part, choice->name));
  }
  ASSERT_OK_AND_ASSIGN(const Sections sections, ReadSections());
  std::set<std::string> found;
  for (const auto& [heading, lines] : sections) found.insert(heading);
  EXPECT_EQ(found, expected);
}

TEST(MethodsDoc, ListsEveryParameterOfAChoiceWithItsDefault) {
  ASSERT_OK_AND_ASSIGN(const Sections sections, ReadSections());
  for (const PartInfo& part : Parts()) {
    for (const ChoiceInfo* choice : part.choices()) {
      const std::string heading = HeadingOf(part, choice->name);
      const auto section = sections.find(heading);
      ASSERT_NE(section, sections.end()) << heading;
      for (const char* name : choice->parameters) {
        ASSERT_NE(FindParameter(name), nullptr) << name;
        const std::string row = absl::StrCat("| `", name, "` | ", FindParameter(name)->default_value, " ");
        EXPECT_TRUE(HasLine(section->second, row)) << heading << ": no row '" << row << "...'";
      }
    }
  }
}

TEST(MethodsDoc, NamesEveryDefaultThatAPresetChanges) {
  ASSERT_OK_AND_ASSIGN(const Sections sections, ReadSections());
  for (const PresetInfo& preset : PresetTable()) {
    const auto section = sections.find(absl::StrCat("Preset ", preset.name));
    ASSERT_NE(section, sections.end()) << preset.name;
    for (const auto& [name, value] : preset.defaults) {
      const std::string setting = absl::StrCat("`", name, "=", value, "`");
      EXPECT_TRUE(Contains(section->second, setting)) << preset.name << ": " << setting << " is not mentioned";
    }
  }
}

}  // namespace
}  // namespace quantd
