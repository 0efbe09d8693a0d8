#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/pipeline/report.h"
#include "core/pipeline/report_html_plots.h"
#include "core/pipeline/report_html_sections.h"
#include "core/pipeline/report_html_style.h"
#include "core/pipeline/report_html_text.h"

namespace quantd {
namespace {

// `plot` with heading and explanation; empty without a plot.
std::string Figured(absl::string_view heading, const std::string& plot, absl::string_view caption) {
  if (plot.empty()) return "";
  return absl::StrCat("<figure><h3>", heading, "</h3>", plot, "<figcaption>", caption, "</figcaption></figure>\n");
}

std::string EvaluationFigures(const Comparison& comparison) {
  return absl::StrCat(
      Figured("Perplexity before and after", PerplexityPlot(comparison),
              "Lower is better. Bars reach one standard error to each side. Both models read the same tokens, so their "
              "ratio is known more closely than either figure."),
      Figured("Divergence from the original", KlPlot(comparison.kl),
              "Share of positions by KL(original || quantized) in nats, on a logarithmic axis: how far the predicted "
              "distribution has moved."));
}

std::string PlotsSection(const Report& report) {
  const std::string figures = absl::StrCat(
      report.evaluation ? EvaluationFigures(report.evaluation->comparison) : "",
      Figured("Error by layer", ErrorPlot(report.layers),
              "Relative output error of each layer on the calibration inputs; of the weights where there are none."),
      Figured("Bits by layer", BitsPlot(report.layers), "Stored bits a weight: codes, scales and zeros."));
  if (figures.empty()) return "";
  return absl::StrCat("<section><h2>Where the loss is</h2>\n<div class=\"plots\">\n", figures, "</div></section>\n");
}

std::string HtmlVerdict(const Report& report) {
  return HtmlEscape(absl::StrReplaceAll(Verdict(report), {{" -> ", " → "}, {"+- ", "± "}, {"x smaller", "× smaller"}}));
}

std::string Header(const Report& report) {
  return absl::StrCat("<header><h1>", HtmlEscape(report.model.name), " <span class=\"soft\">",
                      HtmlEscape(report.preset), "</span></h1>\n<p class=\"verdict\">", HtmlVerdict(report),
                      "</p>\n<p>", PlainWords(report), "</p></header>\n");
}

}  // namespace

std::string ReportHtml(const Report& report) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
      HtmlEscape(report.model.name), ", ", HtmlEscape(report.preset), ": quantization report</title>\n<style>",
      ReportStyle(), "</style></head>\n<body><main>\n", Header(report), CardsSection(report), WarningsSection(report),
      PlotsSection(report), LayersSection(report), MeasurementSection(report), RecipeSection(report),
      "</main></body></html>\n");
}

}  // namespace quantd
