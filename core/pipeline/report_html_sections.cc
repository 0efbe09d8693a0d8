#include "core/pipeline/report_html_sections.h"

#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/pipeline/report_html_text.h"

namespace quantd {
namespace {

struct Degree {
  double below;  // relative rise of perplexity
  absl::string_view words;
};

// Ordered; the last one holds for everything above.
constexpr Degree kDegrees[] = {
    {0.01, "hardly worse"}, {0.05, "slightly worse"}, {0.2, "noticeably worse"}, {HUGE_VAL, "much worse"}};

absl::string_view DegreeOf(double rise) {
  for (const Degree& degree : kDegrees) {
    if (rise < degree.below) return degree.words;
  }
  return std::end(kDegrees)[-1].words;
}

// Two standard errors: a difference that chance alone gives in fewer than one of twenty measurements.
std::string LossInWords(const Comparison& comparison) {
  const double change = comparison.log_perplexity_ratio;
  if (!std::isfinite(change)) return "The quantized model's predictions are not finite: it is unusable.";
  if (std::abs(change) <= 2 * comparison.log_perplexity_ratio_error) {
    return "No difference in predicting the evaluation text can be told from chance.";
  }
  if (change < 0) return "The quantized model predicts the evaluation text no worse than the original.";
  return absl::StrCat("The quantized model predicts the evaluation text ", DegreeOf(std::expm1(change)),
                      " than the original.");
}

std::string AgreementInWords(const Comparison& comparison) {
  return absl::StrCat(" Both choose the same most likely next token at ", Percent(comparison.same_top1),
                      " of the positions.");
}

std::string Card(absl::string_view figure, absl::string_view name, absl::string_view detail) {
  return absl::StrCat("<li class=\"card\"><span>", name, "</span><b>", figure, "</b><span>", detail, "</span></li>\n");
}

std::string EvaluationCards(const Comparison& comparison) {
  const double change = std::expm1(comparison.log_perplexity_ratio);
  const double error = std::exp(comparison.log_perplexity_ratio) * comparison.log_perplexity_ratio_error;
  return absl::StrCat(
      Card(Figure(comparison.quantized.perplexity), "Perplexity",
           absl::StrCat("was ", Figure(comparison.original.perplexity), "; ", SignedFigure(100 * change),
                        "\u00A0% ±\u00A0", Figure(100 * error, 2), "\u00A0%")),
      Card(
          Figure(comparison.kl.mean, 3), "KL divergence, nats a token",
          absl::StrCat("median ", Figure(comparison.kl.median, 2), ", 99\u00A0% below ", Figure(comparison.kl.p99, 2))),
      Card(Percent(comparison.same_top1), "Same most likely token",
           absl::StrCat("± ", Figure(100 * comparison.same_top1_error, 2), "\u00A0%")));
}

std::string SpeedCard(const ReportSpeed& speed) {
  return Card(Figure(speed.quantized.decode_tokens_per_second, 3), "Tokens a second, generating",
              absl::StrCat("original ", Figure(speed.original.decode_tokens_per_second, 3), "; kernel ",
                           HtmlEscape(speed.kernel)));
}

std::string LayerNotes(const ReportLayer& layer) {
  std::vector<std::string> notes;
  if (layer.nearest_fallback) notes.push_back("rounded to nearest instead");
  if (layer.zero_sensitivity) notes.push_back("no effect on the loss of the calibration text: rounded to nearest");
  if (layer.damping_retries > 0) notes.push_back(absl::StrCat("damped more, ", layer.damping_retries, " times"));
  if (layer.dead_columns > 0) notes.push_back(absl::StrCat(Grouped(layer.dead_columns), " inputs never used"));
  if (layer.precision_difference) {
    notes.push_back(
        absl::StrCat("precision changes the sensitivity by ", Figure(100 * *layer.precision_difference, 2), "\u00A0%"));
  }
  return absl::StrJoin(notes, ", ");
}

std::string LayerRow(const ReportLayer& layer) {
  return absl::StrCat("<tr><th scope=\"row\">", HtmlEscape(layer.name), "</th><td class=\"left\">",
                      HtmlEscape(layer.scheme), "</td><td>", Grouped(layer.rows), " × ", Grouped(layer.cols),
                      "</td><td>", Figure(layer.bits_per_weight), "</td><td>", Figure(layer.relative_output_error, 3),
                      "</td><td>", Figure(layer.damping, 3), "</td><td class=\"left notes\">", LayerNotes(layer),
                      "</td></tr>\n");
}

// Layers by sensitivity: one line where all have one.
std::string SensitivityLines(const Report& report) {
  std::map<std::string, int> layers;
  for (const ReportLayer& layer : report.layers) ++layers[layer.sensitivity];
  std::string lines;
  for (const auto& [sensitivity, count] : layers) {
    absl::StrAppend(&lines, "<p class=\"soft\">Sensitivity",
                    layers.size() > 1 ? absl::StrCat(" of ", count, count == 1 ? " layer" : " layers") : "", ": ",
                    HtmlEscape(sensitivity), ".</p>\n");
  }
  return lines;
}

std::string LayerTable(const Report& report) {
  std::string table =
      "<div class=\"panel scroll\" role=\"region\" aria-label=\"Layers\" tabindex=\"0\"><table><thead><tr>"
      "<th scope=\"col\">Layer</th><th scope=\"col\" class=\"left\">Scheme</th><th scope=\"col\">Outputs × inputs</th>"
      "<th scope=\"col\">Bits a weight</th><th scope=\"col\">Relative output error</th><th scope=\"col\">Damping</th>"
      "<th scope=\"col\" class=\"left\">Notes</th></tr></thead><tbody>\n";
  for (const ReportLayer& layer : report.layers) absl::StrAppend(&table, LayerRow(layer));
  return absl::StrCat(table, "</tbody></table></div>\n");
}

}  // namespace

std::string PlainWords(const Report& report) {
  const std::string size = absl::StrCat("The tensors take ", Bytes(report.size.quantized_bytes), " instead of ",
                                        Bytes(report.size.original_bytes), ". ");
  if (!report.evaluation) return size + "How much worse the model has become was not measured: no text was given.";
  const Comparison& comparison = report.evaluation->comparison;
  return absl::StrCat(size, LossInWords(comparison), AgreementInWords(comparison));
}

std::string CardsSection(const Report& report) {
  const ReportSize& size = report.size;
  return absl::StrCat(
      "<ul class=\"cards\" aria-label=\"Main figures\">\n",
      Card(Bytes(size.quantized_bytes), "Size", absl::StrCat("was ", Bytes(size.original_bytes))),
      Card(Figure(size.bits_per_weight, 3), "Bits a quantized weight",
           absl::StrCat(Grouped(size.quantized_weights), " weights in ", report.layers.size(), " layers")),
      report.evaluation ? EvaluationCards(report.evaluation->comparison) : "",
      report.speed ? SpeedCard(*report.speed) : "", "</ul>\n");
}

std::string WarningsSection(const Report& report) {
  if (report.warnings.empty()) return "";
  std::string list = "<ul class=\"warnings\" aria-label=\"Warnings\">";
  for (const std::string& warning : report.warnings) absl::StrAppend(&list, "<li>", HtmlEscape(warning), "</li>");
  return list + "</ul>\n";
}

std::string LayersSection(const Report& report) {
  if (report.layers.empty() && report.skipped_layers.empty()) return "";
  constexpr size_t kShownAtOnce = 60;
  std::string section = "<section><h2>Layers</h2>\n";
  if (!report.layers.empty()) {
    absl::StrAppend(&section, SensitivityLines(report), "<details", report.layers.size() <= kShownAtOnce ? " open" : "",
                    "><summary>", report.layers.size(), " quantized layers</summary>\n", LayerTable(report),
                    "</details>\n");
  }
  if (!report.skipped_layers.empty()) {
    absl::StrAppend(&section, "<p class=\"soft\">Left as they were by a rule: ",
                    HtmlEscape(absl::StrJoin(report.skipped_layers, ", ")), ".</p>\n");
  }
  return section + "</section>\n";
}

std::string RecipeSection(const Report& report) {
  const auto recipe = ParseJson(report.recipe_json, "recipe");
  return absl::StrCat(
      "<section><h2>Recipe</h2>\n<div class=\"panel\"><pre tabindex=\"0\" aria-label=\"Recipe as JSON\">",
      HtmlEscape(recipe.ok() ? JsonText(*recipe) : report.recipe_json), "</pre></div></section>\n");
}

}  // namespace quantd
