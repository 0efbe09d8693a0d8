#include "client/text/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/text/error_text.h"
#include "core/base/excerpt.h"

namespace quantd {
namespace {

// Characters of UTF-8: bytes that do not continue one.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !IsUtf8Continuation(c); }));
}

}  // namespace

Table::Table(std::vector<std::string> header) {
  Add(std::move(header));
}

void Table::Add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = absl::StrReplaceAll(Printable(cell), {{"\n", " "}, {"\t", " "}});
  rows_.push_back(std::move(row));
}

std::string Table::Text(int indent) const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t column = 0; column < widths.size(); ++column)
      widths[column] = std::max(widths[column], Width(row[column]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line(static_cast<size_t>(indent), ' ');
    for (size_t column = 0; column < widths.size(); ++column) {
      absl::StrAppend(&line, row[column], std::string(widths[column] - Width(row[column]) + 2, ' '));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace quantd
