#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/pipeline/report_html_sections.h"
#include "core/pipeline/report_html_text.h"

namespace quantd {
namespace {

// One row of the list; `value` is HTML.
std::string Row(absl::string_view name, absl::string_view value) {
  return absl::StrCat("<dt>", name, "</dt><dd>", value, "</dd>\n");
}

std::string Digest(const std::string& sha256) {
  return sha256.empty() ? "" : absl::StrCat("<code>", HtmlEscape(sha256), "</code>");
}

std::string ModelRows(const ReportModel& model) {
  return absl::StrCat(
      Row("Model", absl::StrCat(HtmlEscape(model.architecture), ", ", Grouped(model.parameters), " parameters, ",
                                Grouped(model.blocks), " blocks of width ", Grouped(model.hidden_size), ", vocabulary ",
                                Grouped(model.vocabulary_size))),
      Row("Model fingerprint", Digest(model.sha256)));
}

std::string CalibrationRows(const ReportCalibration& calibration) {
  return absl::StrCat(
      Row("Calibration", absl::StrCat(Grouped(calibration.sequences), " sequences of ", Grouped(calibration.length),
                                      " tokens from ", HtmlEscape(calibration.text), ", seed ", calibration.seed,
                                      calibration.bos ? ", each begins with BOS" : "")),
      Row("Calibration text", Digest(calibration.text_sha256)));
}

std::string EvaluationRows(const ReportEvaluation& evaluation) {
  const Perplexity& original = evaluation.comparison.original;
  return absl::StrCat(
      Row("Evaluation", absl::StrCat(Grouped(original.windows), " windows of ", Grouped(evaluation.context),
                                     " tokens from ", HtmlEscape(evaluation.text), ", ", Grouped(original.targets),
                                     " predicted tokens, protocol <code>", HtmlEscape(evaluation.protocol), "</code>")),
      Row("Evaluation text", Digest(evaluation.text_sha256)),
      Row("Token stream", Digest(evaluation.token_stream_sha256)),
      Row("Definitions",
          "Natural logarithms. Perplexity is the exponential of the mean negative log-likelihood a predicted token; "
          "its "
          "error treats tokens as independent. The error of the ratio comes from the differences of whole windows. "
          "Windows know nothing of each other."));
}

std::string SpeedRows(const ReportSpeed& speed) {
  const auto pair = [](double before, double after) {
    return absl::StrCat(Figure(before, 3), " original, ", Figure(after, 3), " quantized");
  };
  return absl::StrCat(
      Row("Reading, tokens/s",
          pair(speed.original.prefill_tokens_per_second, speed.quantized.prefill_tokens_per_second)),
      Row("Generating, tokens/s",
          pair(speed.original.decode_tokens_per_second, speed.quantized.decode_tokens_per_second)),
      Row("Kernel", absl::StrCat(HtmlEscape(speed.kernel), ", ", speed.threads, " threads, ", HtmlEscape(speed.isa),
                                 speed.kernel == "dequantized"
                                     ? "; quantized weights are multiplied as 32-bit floats, so no speed-up is claimed"
                                     : "")));
}

std::string Listed(const std::map<std::string, int64_t>& counters) {
  return absl::StrJoin(counters, ", ", [](std::string* out, const auto& counter) {
    absl::StrAppend(out, HtmlEscape(counter.first), " ", Grouped(counter.second));
  });
}

std::string Listed(const std::map<std::string, double>& seconds) {
  return absl::StrJoin(seconds, ", ", [](std::string* out, const auto& phase) {
    absl::StrAppend(out, HtmlEscape(phase.first), " ", Figure(phase.second, 3), " s");
  });
}

std::string RunRows(const Report& report) {
  std::string rows;
  if (!report.exports.empty()) absl::StrAppend(&rows, Row("Exports", HtmlEscape(absl::StrJoin(report.exports, ", "))));
  if (!report.counters.empty()) absl::StrAppend(&rows, Row("Solver events", Listed(report.counters)));
  if (!report.phase_seconds.empty()) absl::StrAppend(&rows, Row("Time", Listed(report.phase_seconds)));
  if (report.peak_memory_bytes > 0) absl::StrAppend(&rows, Row("Peak memory", Bytes(report.peak_memory_bytes)));
  return rows;
}

}  // namespace

std::string MeasurementSection(const Report& report) {
  return absl::StrCat("<section><h2>How it was measured</h2>\n<dl class=\"panel\">\n", ModelRows(report.model),
                      report.calibration ? CalibrationRows(*report.calibration) : "",
                      report.evaluation ? EvaluationRows(*report.evaluation) : "",
                      report.speed ? SpeedRows(*report.speed) : "", RunRows(report), "</dl></section>\n");
}

}  // namespace quantd
