#include "core/pipeline/report_html_svg.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "core/pipeline/report_html_text.h"

namespace quantd {

std::vector<double> Ticks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || !std::isfinite(low) || !std::isfinite(high)) return ticks;
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  const double first = std::ceil(low / step);
  for (int i = 0; i <= 2 * count; ++i) {
    const double tick = (first + i) * step;
    if (tick > high * (1 + 1e-12)) break;
    ticks.push_back(tick);
  }
  return ticks;
}

std::string SvgRect(const Box& box, absl::string_view css_class, double opacity, absl::string_view tip) {
  return absl::StrFormat(
      "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill-opacity=\"%.3f\">"
      "<title>%s</title></rect>",
      css_class, box.x, box.y, box.width, box.height, opacity, HtmlEscape(tip));
}

std::string SvgLine(double x1, double y1, double x2, double y2, absl::string_view css_class) {
  return absl::StrFormat("<line class=\"%s\" x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\"/>", css_class, x1, y1, x2,
                         y2);
}

std::string SvgText(double x, double y, absl::string_view anchor, absl::string_view text) {
  return absl::StrFormat("<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\">%s</text>", x, y, anchor, HtmlEscape(text));
}

std::string Svg(double height, absl::string_view summary, absl::string_view content) {
  return absl::StrFormat("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">%s</svg>\n", kCanvasWidth,
                         height, HtmlEscape(summary), content);
}

}  // namespace quantd
