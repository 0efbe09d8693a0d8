// A report with every part filled in.
#ifndef QUANTD_TESTS_CORE_PIPELINE_SAMPLE_REPORT_H_
#define QUANTD_TESTS_CORE_PIPELINE_SAMPLE_REPORT_H_

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/eval/statistics.h"
#include "core/pipeline/report.h"

namespace quantd {

inline Perplexity SamplePerplexity(double value, double error) {
  Perplexity perplexity;
  perplexity.windows = 64;
  perplexity.targets = 32704;
  perplexity.perplexity = value;
  perplexity.perplexity_error = error;
  perplexity.mean_nll = std::log(value);
  perplexity.nll_sum = perplexity.mean_nll * 32704;
  perplexity.top1_accuracy = 0.25;
  return perplexity;
}

inline KlSummary SampleDivergence() {
  std::vector<double> values;
  for (int i = 0; i < 4000; ++i) values.push_back(0.008 * std::exp(1.4 * std::sin(i) + 0.9 * std::cos(2.3 * i)));
  KlSummary kl;
  kl.mean = 0.0117;
  kl.median = 0.008;
  kl.p90 = 0.03;
  kl.p99 = 0.0625;
  kl.p999 = 0.2;
  kl.max = 0.69;
  kl.histogram = MakeKlHistogram(values);
  return kl;
}

inline std::vector<ReportLayer> SampleLayers(int blocks) {
  const std::vector<std::string> kinds = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                          "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                          "mlp.down_proj"};
  std::vector<ReportLayer> layers;
  for (int block = 0; block < blocks; ++block) {
    for (size_t kind = 0; kind < kinds.size(); ++kind) {
      ReportLayer layer;
      layer.name = absl::StrCat("model.layers.", block, ".", kinds[kind]);
      layer.block = block;
      layer.scheme = "uniform 4 bit g128 asym, optq";
      layer.sensitivity = "input, options";
      layer.rows = 256;
      layer.cols = 1024;
      layer.bits_per_weight = kind == 6 ? 6.25 : 4.25;
      layer.relative_output_error = 0.02 + 0.01 * static_cast<double>(kind) + 0.004 * block;
      layer.damping = 0.01;
      layers.push_back(layer);
    }
  }
  return layers;
}

inline ReportEvaluation SampleEvaluation() {
  ReportEvaluation evaluation;
  evaluation.text = "heldout.txt";
  evaluation.text_sha256 = std::string(64, 'b');
  evaluation.protocol = "plain";
  evaluation.context = 512;
  evaluation.token_stream_sha256 = std::string(64, 'c');
  evaluation.comparison.original = SamplePerplexity(56.83, 0.4);
  evaluation.comparison.quantized = SamplePerplexity(57.91, 0.41);
  evaluation.comparison.log_perplexity_ratio = std::log(57.91 / 56.83);
  evaluation.comparison.log_perplexity_ratio_error = 0.003;
  evaluation.comparison.same_top1 = 0.9103;
  evaluation.comparison.same_top1_error = 0.0016;
  evaluation.comparison.kl = SampleDivergence();
  return evaluation;
}

inline Report SampleReport(int blocks = 6) {
  Report report;
  report.preset = "gptq";
  report.recipe_json = R"({"preset":"gptq","bits":4})";
  report.model = {"quantd-tiny-llama", "LlamaForCausalLM", std::string(64, 'a'), 5900000, blocks, 256, 4096};
  report.size = {11800000, 3000000, 4.53, 4700000};
  report.calibration = ReportCalibration{"calibration.txt", std::string(64, 'd'), 128, 512, 7, true};
  report.evaluation = SampleEvaluation();
  report.layers = SampleLayers(blocks);
  report.layers[1].damping_retries = 2;
  report.layers[1].dead_columns = 1234;
  report.layers[2].nearest_fallback = true;
  report.layers[3].zero_sensitivity = true;
  report.skipped_layers = {"model.layers.0.mlp.up_proj"};
  report.exports = {"gptq"};
  report.counters = {{"damping_retries", 2}, {"nearest_fallbacks", 1}};
  report.warnings = {"The calibration text is short."};
  report.speed = ReportSpeed{"dequantized", {1800, 95}, {1790, 96}, 2, "avx512"};
  report.phase_seconds = {{"calibrate", 1.5}, {"quantize", 7.25}};
  report.peak_memory_bytes = 123456789;
  return report;
}

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_PIPELINE_SAMPLE_REPORT_H_
