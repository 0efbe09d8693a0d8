// Places in a job as the text of JSON objects, for checkpoint.json.
#ifndef QUANTD_CORE_PIPELINE_SAVED_PLACE_H_
#define QUANTD_CORE_PIPELINE_SAVED_PLACE_H_

#include <string>

#include "absl/status/statusor.h"
#include "core/eval/evaluate.h"
#include "core/pipeline/quantize_model.h"

namespace quantd {

std::string PlaceJson(const QuantizePlace& place);
std::string PlaceJson(const ComparisonPlace& place);

// CHECKPOINT_MALFORMED; whether there is such a place in the job is for its owner to say.
absl::StatusOr<QuantizePlace> QuantizePlaceFromJson(const std::string& text);
absl::StatusOr<ComparisonPlace> ComparisonPlaceFromJson(const std::string& text);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_SAVED_PLACE_H_
