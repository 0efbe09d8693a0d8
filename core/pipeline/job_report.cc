#include "core/pipeline/job_report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/model/architecture.h"

namespace quantd {

Report ReportHead(const JobPlan& plan, const std::string& model_fingerprint) {
  const ModelConfig& config = plan.source.model->config();
  Report report;
  report.preset = plan.recipe.preset;
  report.recipe_json = plan.recipe.ToJson().dump();
  report.model.name = BaseName(plan.spec.model);
  report.model.architecture = config.architecture->name;
  report.model.sha256 = model_fingerprint;
  report.model.blocks = config.blocks;
  report.model.hidden_size = config.hidden_size;
  report.model.vocabulary_size = config.vocabulary_size;
  report.model.parameters = plan.parameters;
  report.exports = plan.spec.exports;
  for (const SitePlan& site : plan.sites) {
    if (site.skip) report.skipped_layers.push_back(site.site.name);
  }
  if (plan.calibration.empty()) return report;
  report.calibration = ReportCalibration{.text = BaseName(plan.spec.calibration_file),
                                         .text_sha256 = plan.calibration_sha256,
                                         .sequences = plan.spec.calibration_sequences,
                                         .length = plan.spec.calibration_length,
                                         .seed = plan.spec.seed,
                                         .bos = plan.calibration_bos};
  return report;
}

void AddLayer(const LayerRecord& layer, Report& report) {
  report.layers.push_back(ReportLayerOf(layer));
  report.size.quantized_weights += layer.rows * layer.cols;
  report.counters["damping_retries"] += layer.damping_retries;
  report.counters["nearest_fallbacks"] += layer.nearest_fallback;
  report.counters["zero_sensitivities"] += layer.zero_sensitivity;
  report.counters["dead_columns"] += layer.dead_columns;
  if (layer.nearest_fallback) {
    report.warnings.push_back(
        absl::StrFormat("%s: the sensitivity could not be factorized even with more damping; the layer "
                        "was rounded to nearest",
                        layer.name));
  }
  if (!layer.zero_sensitivity) return;
  report.warnings.push_back(
      absl::StrFormat("%s: its gradients are all zero, nothing in it changes the loss on the calibration text; the "
                      "layer was rounded to nearest",
                      layer.name));
}

void FillSize(const JobPlan& plan, uint64_t quantized_bytes, Report& report) {
  report.size.original_bytes = static_cast<int64_t>(plan.source.model->weights().StoredBytes());
  report.size.quantized_bytes = static_cast<int64_t>(quantized_bytes);
  if (report.size.quantized_weights == 0) return;
  double packed_bits = 0;
  for (const ReportLayer& layer : report.layers) {
    packed_bits += layer.bits_per_weight * static_cast<double>(layer.rows * layer.cols);
  }
  report.size.bits_per_weight = packed_bits / static_cast<double>(report.size.quantized_weights);
}

}  // namespace quantd
