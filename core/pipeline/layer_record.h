// What is known of a quantized layer beside its packed tensors: its row in the report, its entry in the manifest and,
// together with the tensors, the layer itself. Checkpoints keep it.
#ifndef QUANTD_CORE_PIPELINE_LAYER_RECORD_H_
#define QUANTD_CORE_PIPELINE_LAYER_RECORD_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/formats/manifest.h"
#include "core/pipeline/quantize_model.h"
#include "core/pipeline/report.h"
#include "core/tensor/state_tensor.h"

namespace quantd {

struct LayerRecord {
  std::string name;  // module
  int block = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  std::string grid;              // kind() of the weight
  std::string description_json;  // Description() of the weight
  std::string scheme;            // for people
  std::string sensitivity;       // likewise, with its options
  double bits_per_weight = 0;
  double damping = 0;
  int damping_retries = 0;
  bool nearest_fallback = false;
  bool zero_sensitivity = false;
  int64_t dead_columns = 0;
  double relative_squared_error = 0;
  std::optional<double> precision_difference = {};  // of a sensitivity in less than f32

  Json ToJson() const;
};

LayerRecord RecordOf(const QuantizedSite& site);
// `what` names the document. JSON_FIELD_MISSING, JSON_FIELD_TYPE.
absl::StatusOr<LayerRecord> LayerRecordFromJson(const Json& json, absl::string_view what);

ReportLayer ReportLayerOf(const LayerRecord& record);
ManifestSite ManifestSiteOf(const LayerRecord& record, std::string file);
// The layer again, from the tensors that QuantizeState names for it. Hostile input is refused as by
// QuantizedWeightFromTensors.
absl::StatusOr<QuantizedSite> RestoreSite(const LayerRecord& record, const SitePlan& plan, const StateTensors& saved);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_LAYER_RECORD_H_
