// Columns on a terminal.
#ifndef QUANTD_CLIENT_TEXT_TABLE_H_
#define QUANTD_CLIENT_TEXT_TABLE_H_

#include <string>
#include <vector>

namespace quantd {

// Left-aligned, two spaces between columns, each as wide as its widest cell; cells are made printable (error_text.h).
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  // As many cells as the header has.
  void Add(std::vector<std::string> row);
  // Every line begins with `indent` spaces.
  std::string Text(int indent = 0) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_TABLE_H_
