// Tensors of a source as matrices and vectors in f32. Reasons are the source's.
#ifndef QUANTD_CORE_MODEL_WEIGHT_LOADING_H_
#define QUANTD_CORE_MODEL_WEIGHT_LOADING_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/formats/weight_source.h"
#include "core/model/transformer.h"

namespace quantd {

// `name` was checked to have two dimensions, or one.
absl::StatusOr<Matrix> LoadMatrix(const WeightSource& weights, const std::string& name);
absl::StatusOr<std::vector<float>> LoadVector(const WeightSource& weights, const std::string& name);

// Without its bias.
absl::StatusOr<Linear> LoadLinear(const WeightSource& weights, const std::string& name, WeightForm form);

// Weight, and bias where the family's norms have one; nothing when norms are not affine.
absl::StatusOr<Norm> LoadNorm(const WeightSource& weights, const ModelConfig& config, const std::string& module);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_WEIGHT_LOADING_H_
