#include "core/pipeline/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace quantd {
namespace {

// JSON has no number for these; protobuf's JSON form reads the words.
Json Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

double CompressionRatio(const ReportSize& size) {
  return size.quantized_bytes > 0 ? static_cast<double>(size.original_bytes) / static_cast<double>(size.quantized_bytes)
                                  : 0;
}

Json ModelJson(const ReportModel& model) {
  return {{"name", model.name},
          {"architecture", model.architecture},
          {"sha256", model.sha256},
          {"parameters", model.parameters},
          {"blocks", model.blocks},
          {"hidden_size", model.hidden_size},
          {"vocabulary_size", model.vocabulary_size}};
}

Json SizeJson(const ReportSize& size) {
  return {{"original_bytes", size.original_bytes},
          {"quantized_bytes", size.quantized_bytes},
          {"bits_per_weight", Number(size.bits_per_weight)},
          {"quantized_weights", size.quantized_weights},
          {"compression_ratio", CompressionRatio(size)}};
}

Json CalibrationJson(const ReportCalibration& calibration) {
  return {{"text", calibration.text},           {"text_sha256", calibration.text_sha256},
          {"sequences", calibration.sequences}, {"length", calibration.length},
          {"seed", calibration.seed},           {"bos", calibration.bos}};
}

Json HistogramJson(const LogHistogram& histogram) {
  return {
      {"edges", histogram.edges}, {"counts", histogram.counts}, {"below", histogram.below}, {"above", histogram.above}};
}

void AddPerplexity(const Perplexity& perplexity, const std::string& suffix, Json& json) {
  json["perplexity_" + suffix] = Number(perplexity.perplexity);
  json["perplexity_" + suffix + "_error"] = Number(perplexity.perplexity_error);
  json["negative_log_likelihood_" + suffix] = Number(perplexity.nll_sum);
  json["top1_accuracy_" + suffix] = Number(perplexity.top1_accuracy);
}

void AddDivergence(const Comparison& comparison, Json& json) {
  const KlSummary& kl = comparison.kl;
  json["kl_mean"] = Number(kl.mean);
  json["kl_median"] = Number(kl.median);
  json["kl_p90"] = Number(kl.p90);
  json["kl_p99"] = Number(kl.p99);
  json["kl_p999"] = Number(kl.p999);
  json["kl_max"] = Number(kl.max);
  json["kl_histogram"] = HistogramJson(kl.histogram);
  json["same_top1"] = Number(comparison.same_top1);
  json["same_top1_error"] = Number(comparison.same_top1_error);
  json["delta_p_mean"] = Number(comparison.delta_p_mean);
  json["delta_p_rms"] = Number(comparison.delta_p_rms);
}

Json EvaluationJson(const ReportEvaluation& evaluation) {
  const Comparison& comparison = evaluation.comparison;
  Json json = {{"text", evaluation.text},
               {"text_sha256", evaluation.text_sha256},
               {"protocol", evaluation.protocol},
               {"context", evaluation.context},
               {"token_stream_sha256", evaluation.token_stream_sha256},
               {"windows", comparison.original.windows},
               {"targets", comparison.original.targets},
               {"log_perplexity_ratio", Number(comparison.log_perplexity_ratio)},
               {"log_perplexity_ratio_error", Number(comparison.log_perplexity_ratio_error)}};
  AddPerplexity(comparison.original, "original", json);
  AddPerplexity(comparison.quantized, "quantized", json);
  AddDivergence(comparison, json);
  return json;
}

Json LayerJson(const ReportLayer& layer) {
  Json json = {{"name", layer.name},
               {"block", layer.block},
               {"scheme", layer.scheme},
               {"sensitivity", layer.sensitivity},
               {"rows", layer.rows},
               {"cols", layer.cols},
               {"bits_per_weight", Number(layer.bits_per_weight)},
               {"relative_output_error", Number(layer.relative_output_error)},
               {"damping", Number(layer.damping)},
               {"damping_retries", layer.damping_retries},
               {"nearest_fallback", layer.nearest_fallback},
               {"zero_sensitivity", layer.zero_sensitivity},
               {"dead_columns", layer.dead_columns}};
  if (layer.precision_difference) json["precision_difference"] = Number(*layer.precision_difference);
  return json;
}

Json SpeedJson(const ReportSpeed& speed) {
  return {{"kernel", speed.kernel},
          {"prefill_tokens_per_second_original", Number(speed.original.prefill_tokens_per_second)},
          {"prefill_tokens_per_second_quantized", Number(speed.quantized.prefill_tokens_per_second)},
          {"decode_tokens_per_second_original", Number(speed.original.decode_tokens_per_second)},
          {"decode_tokens_per_second_quantized", Number(speed.quantized.decode_tokens_per_second)},
          {"threads", speed.threads},
          {"isa", speed.isa}};
}

Json CheckpointJson(const CheckpointFigures& figures) {
  Json json = {{"commits", figures.commits},
               {"failures", figures.failures},
               {"seconds", figures.seconds},
               {"bytes_written", figures.bytes_written},
               {"largest_bytes", figures.largest_bytes}};
  if (figures.resumed_from_block >= 0) {
    json["resumed_from_block"] = figures.resumed_from_block;
    json["resumed_from_fraction"] = figures.resumed_from_fraction;
  }
  if (!figures.refused.empty()) json["refused"] = figures.refused;
  return json;
}

// The recipe as an object, so that it can be read without parsing twice; its text where it is no JSON.
Json RecipeJson(const std::string& text) {
  auto parsed = ParseJson(text, "recipe");
  return parsed.ok() ? *std::move(parsed) : Json(text);
}

}  // namespace

Json PerformanceToJson(const Report& report) {
  Json json = {{"phase_seconds", Json::object()},
               {"peak_memory_bytes", report.peak_memory_bytes},
               {"disk_bytes", report.disk_bytes},
               {"work", {{"total", report.work.total}, {"this_run", report.work.this_run}}}};
  if (report.checkpoint) json["checkpoint"] = CheckpointJson(*report.checkpoint);
  for (const auto& [phase, seconds] : report.phase_seconds) json["phase_seconds"][phase] = Number(seconds);
  if (report.speed) json["speed"] = SpeedJson(*report.speed);
  return json;
}

Json ReportToJson(const Report& report, ReportContent content) {
  Json json = content == ReportContent::kEverything ? PerformanceToJson(report) : Json::object();
  json["preset"] = report.preset;
  json["recipe"] = RecipeJson(report.recipe_json);
  json["model"] = ModelJson(report.model);
  json["size"] = SizeJson(report.size);
  if (report.calibration) json["calibration"] = CalibrationJson(*report.calibration);
  if (report.evaluation) json["evaluation"] = EvaluationJson(*report.evaluation);
  json["layers"] = Json::array();
  for (const ReportLayer& layer : report.layers) json["layers"].push_back(LayerJson(layer));
  json["skipped_layers"] = report.skipped_layers;
  json["exports"] = report.exports;
  json["counters"] = report.counters;
  json["warnings"] = report.warnings;
  return json;
}

std::string Verdict(const Report& report) {
  std::string verdict = absl::StrFormat("%.1fx smaller", CompressionRatio(report.size));
  if (!report.evaluation) return verdict + ", loss not measured (no evaluation text)";
  const Comparison& comparison = report.evaluation->comparison;
  const double ratio = std::exp(comparison.log_perplexity_ratio);
  // d(exp(x)) = exp(x) dx turns the error of the logarithm into that of the ratio.
  return verdict + absl::StrFormat(", perplexity %.2f -> %.2f (%+.1f %% +- %.1f %%)", comparison.original.perplexity,
                                   comparison.quantized.perplexity, 100 * (ratio - 1),
                                   100 * ratio * comparison.log_perplexity_ratio_error);
}

}  // namespace quantd
