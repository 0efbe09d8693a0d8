#include "core/pipeline/layer_record.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

absl::StatusOr<double> JsonDouble(const Json& object, absl::string_view key, absl::string_view what) {
  const double missing = std::numeric_limits<double>::quiet_NaN();
  ASSIGN_OR_RETURN(const double value, JsonDoubleOr(object, key, missing, what));
  if (!std::isnan(value)) return value;
  return InvalidInput("JSON_FIELD_MISSING", absl::StrCat(what, ": there is no number '", key, "'"));
}

}  // namespace

LayerRecord RecordOf(const QuantizedSite& site) {
  const SiteResult& result = site.result;
  return {.name = site.plan->site.name,
          .block = site.plan->site.block,
          .rows = site.plan->site.rows,
          .cols = site.plan->site.cols,
          .grid = result.weight->kind(),
          .description_json = result.weight->Description().dump(),
          .scheme = absl::StrCat(result.weight->Summary(), ", ", site.plan->parameters.Text("solver")),
          .sensitivity = SensitivityText(site.plan->parameters),
          .bits_per_weight = result.weight->BitsPerWeight(),
          .damping = result.damping,
          .damping_retries = result.damping_retries,
          .nearest_fallback = result.nearest_fallback,
          .zero_sensitivity = result.zero_sensitivity,
          .dead_columns = result.dead_columns,
          .relative_squared_error = result.relative_squared_error,
          .precision_difference = site.precision_difference};
}

Json LayerRecord::ToJson() const {
  Json json = {{"name", name},
               {"block", block},
               {"rows", rows},
               {"cols", cols},
               {"grid", grid},
               {"description", description_json},
               {"scheme", scheme},
               {"sensitivity", sensitivity},
               {"bits_per_weight", bits_per_weight},
               {"damping", damping},
               {"damping_retries", damping_retries},
               {"nearest_fallback", nearest_fallback},
               {"zero_sensitivity", zero_sensitivity},
               {"dead_columns", dead_columns},
               {"relative_squared_error", relative_squared_error}};
  if (precision_difference) json["precision_difference"] = *precision_difference;
  return json;
}

absl::StatusOr<LayerRecord> LayerRecordFromJson(const Json& json, absl::string_view what) {
  LayerRecord record;
  ASSIGN_OR_RETURN(record.name, JsonString(json, "name", what));
  ASSIGN_OR_RETURN(const int64_t block, JsonInt(json, "block", what));
  record.block = static_cast<int>(block);
  ASSIGN_OR_RETURN(record.rows, JsonInt(json, "rows", what));
  ASSIGN_OR_RETURN(record.cols, JsonInt(json, "cols", what));
  ASSIGN_OR_RETURN(record.grid, JsonString(json, "grid", what));
  ASSIGN_OR_RETURN(record.description_json, JsonString(json, "description", what));
  ASSIGN_OR_RETURN(record.scheme, JsonString(json, "scheme", what));
  ASSIGN_OR_RETURN(record.sensitivity, JsonString(json, "sensitivity", what));
  ASSIGN_OR_RETURN(record.bits_per_weight, JsonDouble(json, "bits_per_weight", what));
  ASSIGN_OR_RETURN(record.damping, JsonDouble(json, "damping", what));
  ASSIGN_OR_RETURN(const int64_t retries, JsonInt(json, "damping_retries", what));
  record.damping_retries = static_cast<int>(retries);
  ASSIGN_OR_RETURN(record.nearest_fallback, JsonBoolOr(json, "nearest_fallback", false, what));
  ASSIGN_OR_RETURN(record.zero_sensitivity, JsonBoolOr(json, "zero_sensitivity", false, what));
  ASSIGN_OR_RETURN(record.dead_columns, JsonInt(json, "dead_columns", what));
  ASSIGN_OR_RETURN(record.relative_squared_error, JsonDouble(json, "relative_squared_error", what));
  if (json.contains("precision_difference")) {
    ASSIGN_OR_RETURN(record.precision_difference, JsonDouble(json, "precision_difference", what));
  }
  return record;
}

ReportLayer ReportLayerOf(const LayerRecord& record) {
  return {.name = record.name,
          .block = record.block,
          .scheme = record.scheme,
          .sensitivity = record.sensitivity,
          .rows = record.rows,
          .cols = record.cols,
          .bits_per_weight = record.bits_per_weight,
          .relative_output_error = std::sqrt(std::max(record.relative_squared_error, 0.0)),
          .damping = record.damping,
          .damping_retries = record.damping_retries,
          .nearest_fallback = record.nearest_fallback,
          .zero_sensitivity = record.zero_sensitivity,
          .dead_columns = record.dead_columns,
          .precision_difference = record.precision_difference};
}

ManifestSite ManifestSiteOf(const LayerRecord& record, std::string file) {
  return {.name = record.name,
          .grid = record.grid,
          .description_json = record.description_json,
          .rows = record.rows,
          .cols = record.cols,
          .file = std::move(file)};
}

absl::StatusOr<QuantizedSite> RestoreSite(const LayerRecord& record, const SitePlan& plan, const StateTensors& saved) {
  ASSIGN_OR_RETURN(const Json description, ParseJson(record.description_json, record.name));
  std::vector<StoredTensor> tensors;
  for (const StateTensor& tensor : saved.tensors()) {
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, std::string(tensor.bytes.data(), tensor.bytes.size())});
  }
  SiteResult result{.weight = nullptr,
                    .damping = record.damping,
                    .damping_retries = record.damping_retries,
                    .nearest_fallback = record.nearest_fallback,
                    .zero_sensitivity = record.zero_sensitivity,
                    .dead_columns = record.dead_columns,
                    .relative_squared_error = record.relative_squared_error};
  ASSIGN_OR_RETURN(result.weight, QuantizedWeightFromTensors(record.grid, description, std::move(tensors),
                                                             plan.site.rows, plan.site.cols, record.name));
  return QuantizedSite{&plan, std::move(result), record.precision_difference};
}

}  // namespace quantd
