#include "client/text/figures.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/resource_name.h"
#include "client/text/error_text.h"
#include "client/text/quantity.h"
#include "client/text/table.h"

namespace quantd {
namespace {

std::string Line(absl::string_view name, absl::string_view value) {
  return absl::StrFormat("  %-16s %s\n", name, value);
}

std::string SizeLines(const v1::SizeReport& size) {
  std::string text = Line("size", absl::StrFormat("%s -> %s (%.2f times smaller)", BytesText(size.original_bytes()),
                                                  BytesText(size.quantized_bytes()), size.compression_ratio()));
  return text + Line("bits per weight", absl::StrFormat("%.3f over %s quantized weights", size.bits_per_weight(),
                                                        CountText(size.quantized_weights())));
}

// The ratio's error: d exp(x) = exp(x) dx, x the mean difference of the negative log-likelihoods.
std::string RatioText(const v1::EvaluationReport& evaluation) {
  const double ratio = std::exp(evaluation.log_perplexity_ratio());
  return absl::StrFormat("ratio %.4f +- %.4f", ratio, ratio * evaluation.log_perplexity_ratio_error());
}

std::string EvaluationLines(const v1::EvaluationReport& evaluation) {
  std::string text =
      Line("perplexity", absl::StrFormat("%.4f +- %.4f -> %.4f +- %.4f (%s)", evaluation.perplexity_original(),
                                         evaluation.perplexity_original_error(), evaluation.perplexity_quantized(),
                                         evaluation.perplexity_quantized_error(), RatioText(evaluation)));
  text += Line("KL divergence", absl::StrFormat("mean %.5f, 99th percentile %.5f nats a token", evaluation.kl_mean(),
                                                evaluation.kl_p99()));
  text += Line("same top-1",
               absl::StrFormat("%.2f %% +- %.2f %%", 100 * evaluation.same_top1(), 100 * evaluation.same_top1_error()));
  return text + Line("measured on", absl::StrFormat("%s targets in %d windows of %d tokens, protocol %s",
                                                    CountText(evaluation.targets()), evaluation.windows(),
                                                    evaluation.context(), Printable(evaluation.protocol())));
}

std::string SpeedLines(const v1::SpeedReport& speed) {
  const bool is_packed = speed.kernel() != "dequantized";
  std::string text =
      Line("prefill", absl::StrFormat("%.1f -> %.1f tokens/s", speed.prefill_tokens_per_second_original(),
                                      speed.prefill_tokens_per_second_quantized()));
  text += Line("decode", absl::StrFormat("%.1f -> %.1f tokens/s", speed.decode_tokens_per_second_original(),
                                         speed.decode_tokens_per_second_quantized()));
  return text + Line("kernel", absl::StrFormat("%s%s, %d threads, %s", Printable(speed.kernel()),
                                               is_packed ? "" : " (multiplied as f32: no speed-up is claimed)",
                                               speed.threads(), Printable(speed.isa())));
}

std::string CountersText(const v1::QuantReport& report) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : report.counters()) {
    if (count != 0) parts.push_back(absl::StrCat(Printable(name), " ", count));
  }
  std::sort(parts.begin(), parts.end());
  std::string text;
  for (const std::string& part : parts) absl::StrAppend(&text, text.empty() ? "" : ", ", part);
  return text;
}

std::string EffortLines(const v1::QuantReport& report) {
  double seconds = 0;
  for (const auto& phase : report.phase_seconds()) seconds += phase.second;
  std::string text;
  if (seconds > 0) {
    text +=
        Line("took", absl::StrFormat("%.1f s, at most %s of memory", seconds, BytesText(report.peak_memory_bytes())));
  }
  if (const std::string counters = CountersText(report); !counters.empty()) text += Line("solver", counters);
  for (const std::string& warning : report.warnings()) text += Line("warning", Printable(warning));
  return text;
}

std::string LayerNotes(const v1::LayerReport& layer) {
  std::string notes;
  if (layer.damping_retries() > 0) notes = absl::StrCat("damping raised ", layer.damping_retries(), " times");
  if (layer.nearest_fallback()) absl::StrAppend(&notes, notes.empty() ? "" : ", ", "fell back to nearest");
  return notes;
}

}  // namespace

std::string FiguresText(const v1::QuantReport& report) {
  std::string text;
  if (report.has_size()) text += SizeLines(report.size());
  if (report.has_evaluation()) text += EvaluationLines(report.evaluation());
  if (report.has_speed() && !report.speed().kernel().empty()) text += SpeedLines(report.speed());
  return text + EffortLines(report);
}

std::string ArtifactText(const v1::QuantJob& job) {
  if (!job.has_artifact() || job.artifact().digest().empty()) return "";
  if (job.artifact().expired()) return Line("artifact", "its files have expired and were removed");
  const std::string id = JobId(job.name());
  return Line("artifact", absl::StrFormat("sha256 %s, %s in %d files", Printable(job.artifact().digest()),
                                          BytesText(job.artifact().size_bytes()), job.artifact().files_size())) +
         Line("fetch it with", absl::StrFormat("quantctl download %s --out %s", id, id)) +
         (job.artifact().has_expire_time() ? Line("expires", TimeText(job.artifact().expire_time())) : "");
}

std::string LayersText(const v1::QuantReport& report, int most) {
  std::vector<v1::LayerReport> layers(report.layers().begin(), report.layers().end());
  std::stable_sort(layers.begin(), layers.end(),
                   [](const auto& a, const auto& b) { return a.relative_output_error() > b.relative_output_error(); });
  const size_t shown = std::min(layers.size(), static_cast<size_t>(std::max(most, 0)));
  if (shown == 0) return "";
  Table table({"LAYER", "SHAPE", "SCHEME", "BITS", "OUTPUT ERROR", "DAMPING", "NOTES"});
  for (size_t i = 0; i < shown; ++i) {
    const v1::LayerReport& layer = layers[i];
    table.Add({layer.name(), absl::StrCat(layer.rows(), "x", layer.cols()), layer.scheme(),
               absl::StrFormat("%.3f", layer.bits_per_weight()), absl::StrFormat("%.5f", layer.relative_output_error()),
               absl::StrFormat("%.3g", layer.damping()), LayerNotes(layer)});
  }
  std::string text = table.Text();
  if (shown < layers.size()) {
    absl::StrAppend(&text, "the ", shown, " largest errors of ", layers.size(), " layers; --layers N shows more\n");
  }
  return text;
}

}  // namespace quantd
