#include "core/pipeline/report_html_text.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quantd {
namespace {

absl::string_view Entity(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return "";
  }
}

bool IsControl(char c) {
  const auto code = static_cast<unsigned char>(c);
  return (code < 0x20 && c != '\n' && c != '\t') || code == 0x7f;
}

}  // namespace

std::string HtmlEscape(absl::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    if (const absl::string_view entity = Entity(c); !entity.empty()) {
      absl::StrAppend(&escaped, entity);
    } else if (IsControl(c)) {
      absl::StrAppend(&escaped, "\xEF\xBF\xBD");
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

std::string Figure(double value, int digits) {
  if (std::isnan(value)) return "undefined";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-5 || size >= 1e9)) return absl::StrFormat("%.*g", digits, value);
  const int leading = size == 0 ? 0 : static_cast<int>(std::floor(std::log10(size)));
  return absl::StrFormat("%.*f", std::max(0, digits - 1 - leading), value);
}

std::string SignedFigure(double value, int digits) {
  return absl::StrCat(value < 0 ? "−" : "+", Figure(std::abs(value), digits));
}

std::string Grouped(int64_t value) {
  std::string digits = absl::StrCat(value);
  const int64_t first = value < 0 ? 1 : 0;
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > first; at -= 3) digits.insert(at, 1, ',');
  return digits;
}

std::string Bytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return absl::StrCat(unit == 0 ? absl::StrCat(bytes) : Figure(value, 3), " ", kUnits[unit]);
}

std::string Percent(double share) {
  if (!std::isfinite(share)) return Figure(share);
  return absl::StrFormat("%.2f\u00A0%%", 100 * share);
}

}  // namespace quantd
