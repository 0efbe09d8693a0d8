// The style sheet of report.html.
#ifndef QUANTD_CORE_PIPELINE_REPORT_HTML_STYLE_H_
#define QUANTD_CORE_PIPELINE_REPORT_HTML_STYLE_H_

#include "absl/strings/string_view.h"

namespace quantd {

// Content of a <style> element. Follows the reader's choice of light or dark; every colour of text has a contrast of at
// least 4.5 to its ground in both.
absl::string_view ReportStyle();

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_REPORT_HTML_STYLE_H_
