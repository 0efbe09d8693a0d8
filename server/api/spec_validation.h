// Checks of a job's spec that need no model file. What depends on the model or the recipe is the planner's business.
#ifndef QUANTD_SERVER_API_SPEC_VALIDATION_H_
#define QUANTD_SERVER_API_SPEC_VALIDATION_H_

#include <string>

#include "absl/status/status.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// Sizes, ranges and closed sets. INVALID_ARGUMENT with the field: SPEC_TOO_LARGE, MODEL_MISSING, RECIPE_MISSING,
// RECIPE_PARAMETER_TYPE, RULES_INVALID, DEVICE_UNKNOWN, EXPORT_UNKNOWN, LABELS_INVALID, CALIBRATION_INVALID,
// EVALUATION_INVALID, LIMIT_INVALID (priority, deadlines, attempts).
absl::Status ValidateSpec(const v1::QuantJobSpec& spec);

// The model is a folder below its root and the texts are files below theirs. NOT_FOUND MODEL_NOT_FOUND,
// DATA_NOT_FOUND; INVALID_ARGUMENT PATH_ESCAPES_ROOT, PATH_INVALID, EVALUATION_TEXT_IS_CALIBRATION_TEXT (also by way of
// a link).
absl::Status CheckPaths(const v1::QuantJobSpec& spec, const std::string& model_root, const std::string& data_root);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_SPEC_VALIDATION_H_
