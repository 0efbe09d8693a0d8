#include "absl/strings/str_cat.h"
#include "core/pipeline/report.h"

namespace quantd {

std::string ReportHtml(const Report& report) {
  return absl::StrCat("<!doctype html><meta charset=\"utf-8\"><title>quantd report</title><p>",
                      Verdict(report).substr(0, 200), "</p>\n");
}

}  // namespace quantd
