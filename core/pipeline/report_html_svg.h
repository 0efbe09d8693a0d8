// The few SVG elements that the plots are made of. Coordinates are CSS pixels of a canvas kCanvasWidth wide.
#ifndef QUANTD_CORE_PIPELINE_REPORT_HTML_SVG_H_
#define QUANTD_CORE_PIPELINE_REPORT_HTML_SVG_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quantd {

inline constexpr double kCanvasWidth = 480;

// Maps values linearly to pixels.
struct Axis {
  double low = 0;
  double high = 1;
  double from = 0;  // pixel of `low`
  double to = 0;    // pixel of `high`
  double At(double value) const { return high > low ? from + (value - low) / (high - low) * (to - from) : from; }
};

// Round numbers (1, 2, 5 times a power of ten) within [low, high], at most about `count`.
std::vector<double> Ticks(double low, double high, int count);

struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

// `tip` appears when the pointer rests on the element; `opacity` of the fill, 0..1.
std::string SvgRect(const Box& box, absl::string_view css_class, double opacity, absl::string_view tip);
std::string SvgLine(double x1, double y1, double x2, double y2, absl::string_view css_class);
// `anchor`: "start", "middle" or "end".
std::string SvgText(double x, double y, absl::string_view anchor, absl::string_view text);

// The whole element. `summary` is what a screen reader says in its place. No id is needed, so that a page may hold
// several.
std::string Svg(double height, absl::string_view summary, absl::string_view content);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_REPORT_HTML_SVG_H_
