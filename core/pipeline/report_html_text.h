// Text and figures as report.html shows them.
#ifndef QUANTD_CORE_PIPELINE_REPORT_HTML_TEXT_H_
#define QUANTD_CORE_PIPELINE_REPORT_HTML_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// Safe between tags and inside quoted attributes: & < > " ' become entities, control characters U+FFFD.
std::string HtmlEscape(absl::string_view text);

// Significant digits without an exponent where that is short: "56.83", "0.00117", "1.2e-09". "∞", "−∞" and "undefined"
// for what is not finite.
std::string Figure(double value, int digits = 4);

// Figure with a sign in front: "+1.9", "−0.3".
std::string SignedFigure(double value, int digits = 2);

// "16,352"
std::string Grouped(int64_t value);

// "12.3 MB", powers of 1000.
std::string Bytes(int64_t bytes);

// A share 0..1: "91.03 %", with a space that does not break.
std::string Percent(double share);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_REPORT_HTML_TEXT_H_
