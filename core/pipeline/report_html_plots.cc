#include "core/pipeline/report_html_plots.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/pipeline/report_html_svg.h"
#include "core/pipeline/report_html_text.h"

namespace quantd {
namespace {

constexpr double kRight = kCanvasWidth - 8;

// Shade of an error cell, and the share of the largest error from which white is easier to read on it than the text's
// own colour.
double Shade(double share) {
  return 0.06 + 0.94 * share;
}
constexpr double kWhiteFrom = 0.78;

bool IsNumber(absl::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), absl::ascii_isdigit);
}

// What layers of different blocks have in common: the last two parts of the name that are no numbers ("mlp.down_proj").
std::string KindOf(const std::string& name) {
  std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  parts.erase(std::remove_if(parts.begin(), parts.end(), IsNumber), parts.end());
  if (parts.size() < 2) return name;
  return absl::StrCat(parts[parts.size() - 2], ".", parts.back());
}

// The worst layer of each kind in each block; kinds in order of appearance.
struct ErrorGrid {
  std::vector<std::string> kinds;
  std::map<std::pair<size_t, int>, const ReportLayer*> cells;  // (index of the kind, block)
  int first_block = 0;
  int last_block = 0;
  double largest = 0;  // finite error
};

bool Worse(const ReportLayer& layer, const ReportLayer& other) {
  return std::isnan(layer.relative_output_error) || layer.relative_output_error > other.relative_output_error;
}

ErrorGrid MakeErrorGrid(const std::vector<ReportLayer>& layers) {
  ErrorGrid grid;
  if (!layers.empty()) grid.first_block = grid.last_block = layers.front().block;
  std::map<std::string, size_t> index;
  for (const ReportLayer& layer : layers) {
    const auto [kind, is_new] = index.emplace(KindOf(layer.name), grid.kinds.size());
    if (is_new) grid.kinds.push_back(kind->first);
    const ReportLayer*& cell = grid.cells[{kind->second, layer.block}];
    if (cell == nullptr || Worse(layer, *cell)) cell = &layer;
    grid.first_block = std::min(grid.first_block, layer.block);
    grid.last_block = std::max(grid.last_block, layer.block);
    if (std::isfinite(layer.relative_output_error)) grid.largest = std::max(grid.largest, layer.relative_output_error);
  }
  return grid;
}

// Where the grid lies: left of it the names, under it the numbers of the blocks.
struct GridLayout {
  static constexpr double kLeft = 150;
  static constexpr double kRowHeight = 24;
  static constexpr double kTop = 4;
  double column_width;
  explicit GridLayout(const ErrorGrid& grid)
      : column_width(std::min(60.0, (kRight - kLeft) / (static_cast<double>(grid.last_block) - grid.first_block + 1))) {
  }
  Box Cell(size_t kind, double column) const {
    const double gap = column_width > 6 ? 2 : 0.3;
    return {kLeft + column * column_width, kTop + static_cast<double>(kind) * kRowHeight, column_width - gap,
            kRowHeight - 2};
  }
};

std::string ErrorCell(const ErrorGrid& grid, const GridLayout& layout, size_t kind, const ReportLayer& layer) {
  const double error = layer.relative_output_error;
  const double share = std::isfinite(error) && grid.largest > 0 ? error / grid.largest : std::isfinite(error) ? 0 : 1;
  const Box box = layout.Cell(kind, static_cast<double>(layer.block) - grid.first_block);
  std::string svg = SvgRect(box, "fill", Shade(share), absl::StrCat(layer.name, ": ", Figure(error)));
  if (layout.column_width < 44) return svg;
  // White on a dark shade, the colour of the text on a light one.
  absl::StrAppend(&svg, "<g class=\"", share > kWhiteFrom ? "on" : "", "\">",
                  SvgText(box.x + box.width / 2, box.y + 16, "middle", Figure(error, 2)), "</g>");
  return svg;
}

std::string BlockNumbers(const ErrorGrid& grid, const GridLayout& layout, double y) {
  std::string svg;
  const int blocks = grid.last_block - grid.first_block;
  const int step = std::max(1, static_cast<int>(std::ceil(26 / layout.column_width)));
  for (int column = 0; column <= blocks; column += step) {
    const Box box = layout.Cell(0, column);
    absl::StrAppend(&svg, SvgText(box.x + box.width / 2, y, "middle", absl::StrCat(grid.first_block + column)));
  }
  return svg;
}

// What the shades mean: from no error to the largest.
std::string ShadeScale(const ErrorGrid& grid, double y) {
  constexpr int kSteps = 6;
  constexpr double kWidth = 18;
  const double left = GridLayout::kLeft + 14;
  std::string svg = SvgText(left - 4, y + 10, "end", "0");
  for (int i = 0; i < kSteps; ++i) {
    const double share = static_cast<double>(i) / (kSteps - 1);
    absl::StrAppend(
        &svg, SvgRect({left + i * kWidth, y, kWidth - 1, 12}, "fill", Shade(share), Figure(share * grid.largest, 2)));
  }
  return absl::StrCat(svg, SvgText(left + kSteps * kWidth + 4, y + 10, "start", Figure(grid.largest, 3)));
}

double Widest(const std::vector<ReportLayer>& layers) {
  double widest = 1;
  for (const ReportLayer& layer : layers) {
    if (std::isfinite(layer.bits_per_weight)) widest = std::max(widest, layer.bits_per_weight);
  }
  return widest;
}

// Horizontal grid lines with figures on the left.
std::string HorizontalGrid(const Axis& axis, double left) {
  std::string svg;
  for (const double tick : Ticks(axis.low, axis.high, 5)) {
    absl::StrAppend(&svg, SvgLine(left, axis.At(tick), kRight, axis.At(tick), "grid"),
                    SvgText(left - 6, axis.At(tick) + 4, "end", absl::StrFormat("%g", tick)));
  }
  return svg;
}

std::string PerplexityRow(const Axis& axis, double y, absl::string_view name, const Perplexity& perplexity) {
  const double value = perplexity.perplexity;
  const double low = axis.At(value - perplexity.perplexity_error);
  const double high = axis.At(value + perplexity.perplexity_error);
  return absl::StrCat(SvgText(84, y + 4, "end", name), SvgLine(low, y, high, y, "bar"),
                      SvgLine(low, y - 6, low, y + 6, "bar"), SvgLine(high, y - 6, high, y + 6, "bar"),
                      absl::StrFormat("<circle class=\"fill\" cx=\"%.2f\" cy=\"%.2f\" r=\"5\"/>", axis.At(value), y),
                      SvgText(axis.At(value), y - 12, "middle",
                              absl::StrCat(Figure(value), " ± ", Figure(perplexity.perplexity_error, 2))));
}

// Bins of a histogram that a plot shows: whole decades, from the first to the last that holds any value.
struct BinRange {
  size_t begin = 0;
  size_t end = 0;
};

constexpr size_t kBinsPerDecade = 4;

BinRange ShownBins(const LogHistogram& histogram) {
  BinRange range{histogram.counts.size(), 0};
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    if (histogram.counts[i] == 0) continue;
    range.begin = std::min(range.begin, i / kBinsPerDecade * kBinsPerDecade);
    range.end = std::min(histogram.counts.size(), (i / kBinsPerDecade + 1) * kBinsPerDecade);
  }
  range.begin = std::min(range.begin, range.end);
  return range;
}

std::string KlBars(const LogHistogram& histogram, BinRange range, double total, const Axis& x, const Axis& y) {
  std::string svg;
  for (size_t i = range.begin; i < range.end; ++i) {
    const double share = static_cast<double>(histogram.counts[i]) / total;
    const double left = x.At(std::log10(histogram.edges[i]));
    const double right = x.At(std::log10(histogram.edges[i + 1]));
    absl::StrAppend(
        &svg, SvgRect({left + 0.5, y.At(share), std::max(0.5, right - left - 1), y.At(0) - y.At(share)}, "fill", 1,
                      absl::StrCat(Figure(histogram.edges[i], 2), " to ", Figure(histogram.edges[i + 1], 2),
                                   " nats: ", Percent(share))));
  }
  return svg;
}

std::string KlMark(const Axis& x, double top, double bottom, double value, absl::string_view name) {
  if (!(value > 0) || !std::isfinite(value)) return "";
  const double at = x.At(std::clamp(std::log10(value), x.low, x.high));
  return absl::StrCat(SvgLine(at, top, at, bottom, "mark"), SvgText(at, top - 4, "middle", name));
}

}  // namespace

std::string ErrorPlot(const std::vector<ReportLayer>& layers) {
  if (layers.empty()) return "";
  const ErrorGrid grid = MakeErrorGrid(layers);
  const GridLayout layout(grid);
  std::string svg;
  for (size_t kind = 0; kind < grid.kinds.size(); ++kind) {
    absl::StrAppend(&svg, SvgText(GridLayout::kLeft - 8, layout.Cell(kind, 0).y + 16, "end", grid.kinds[kind]));
  }
  for (const auto& [place, layer] : grid.cells) absl::StrAppend(&svg, ErrorCell(grid, layout, place.first, *layer));
  const double bottom = layout.Cell(grid.kinds.size(), 0).y;
  absl::StrAppend(&svg, BlockNumbers(grid, layout, bottom + 14),
                  SvgText(GridLayout::kLeft - 8, bottom + 14, "end", "block"), ShadeScale(grid, bottom + 28));
  return Svg(bottom + 44,
             absl::StrCat("Relative output error by kind of layer and block, up to ", Figure(grid.largest)), svg);
}

std::string BitsPlot(const std::vector<ReportLayer>& layers) {
  if (layers.empty()) return "";
  constexpr double kLeft = 36, kTop = 10, kBottom = 170;
  const Axis y{0, std::ceil(Widest(layers)), kBottom, kTop};
  const double width = (kRight - kLeft) / static_cast<double>(layers.size());
  std::string svg = HorizontalGrid(y, kLeft);
  for (size_t i = 0; i < layers.size(); ++i) {
    const double bits = layers[i].bits_per_weight;
    const double top = std::isfinite(bits) ? y.At(std::max(bits, 0.0)) : kTop;
    absl::StrAppend(&svg,
                    SvgRect({kLeft + static_cast<double>(i) * width, top, width > 4 ? width - 1 : width, kBottom - top},
                            "fill", 1, absl::StrCat(layers[i].name, ": ", Figure(bits), " bits")));
  }
  absl::StrAppend(&svg, SvgText((kLeft + kRight) / 2, kBottom + 18, "middle", "layers in execution order"));
  return Svg(kBottom + 26,
             absl::StrCat("Stored bits a weight of ", layers.size(), " layers, up to ", Figure(Widest(layers))), svg);
}

std::string PerplexityPlot(const Comparison& comparison) {
  const Perplexity& before = comparison.original;
  const Perplexity& after = comparison.quantized;
  double low = std::min(before.perplexity - before.perplexity_error, after.perplexity - after.perplexity_error);
  double high = std::max(before.perplexity + before.perplexity_error, after.perplexity + after.perplexity_error);
  if (!std::isfinite(low) || !std::isfinite(high)) return "";
  const double margin = std::max((high - low) * 0.25, high * 1e-6);
  const Axis x{std::max(0.0, low - margin), high + margin, 130, kRight - 30};
  std::string svg;
  for (const double tick : Ticks(x.low, x.high, 5)) {
    absl::StrAppend(&svg, SvgLine(x.At(tick), 10, x.At(tick), 142, "grid"),
                    SvgText(x.At(tick), 160, "middle", Figure(tick, 4)));
  }
  absl::StrAppend(&svg, PerplexityRow(x, 50, "original", before), PerplexityRow(x, 112, "quantized", after));
  return Svg(168,
             absl::StrCat("Perplexity ", Figure(before.perplexity), " before, ", Figure(after.perplexity), " after"),
             svg);
}

std::string KlPlot(const KlSummary& kl) {
  const LogHistogram& histogram = kl.histogram;
  const BinRange range = ShownBins(histogram);
  if (range.begin == range.end || histogram.edges.size() != histogram.counts.size() + 1) return "";
  double total = static_cast<double>(histogram.below + histogram.above);
  for (const int64_t count : histogram.counts) total += static_cast<double>(count);
  const int64_t most = *std::max_element(histogram.counts.begin(), histogram.counts.end());
  constexpr double kTop = 26, kBottom = 170;
  const Axis x{std::log10(histogram.edges[range.begin]), std::log10(histogram.edges[range.end]), 44, kRight};
  const Axis y{0, static_cast<double>(most) / total * 1.05, kBottom, kTop};
  std::string svg;
  for (const double tick : Ticks(0, y.high, 4)) {
    absl::StrAppend(&svg, SvgLine(44, y.At(tick), kRight, y.At(tick), "grid"),
                    SvgText(38, y.At(tick) + 4, "end", absl::StrFormat("%g\u00A0%%", 100 * tick)));
  }
  absl::StrAppend(&svg, KlBars(histogram, range, total, x, y));
  for (size_t edge = range.begin; edge <= range.end; edge += kBinsPerDecade) {
    absl::StrAppend(&svg, SvgText(x.At(std::log10(histogram.edges[edge])), kBottom + 18, "middle",
                                  absl::StrFormat("%g", histogram.edges[edge])));
  }
  absl::StrAppend(&svg, KlMark(x, kTop - 6, kBottom, kl.mean, "mean"), KlMark(x, kTop - 6, kBottom, kl.p99, "99 %"));
  return Svg(kBottom + 26, absl::StrCat("Distribution of the divergence, mean ", Figure(kl.mean), " nats"), svg);
}

}  // namespace quantd
