#include "core/model/weight_loading.h"

#include "core/base/status.h"

namespace quantd {

absl::StatusOr<Matrix> LoadMatrix(const WeightSource& weights, const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> shape, weights.Shape(name));
  Matrix matrix(shape[0], shape[1]);
  RETURN_IF_ERROR(weights.ReadRows(name, 0, shape[0], matrix.span()));
  return matrix;
}

absl::StatusOr<std::vector<float>> LoadVector(const WeightSource& weights, const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> shape, weights.Shape(name));
  std::vector<float> values(static_cast<size_t>(shape[0]));
  RETURN_IF_ERROR(weights.ReadRows(name, 0, shape[0], absl::MakeSpan(values)));
  return values;
}

absl::StatusOr<Linear> LoadLinear(const WeightSource& weights, const std::string& name, WeightForm form) {
  Linear linear;
  if (form == WeightForm::kF32) {
    ASSIGN_OR_RETURN(linear.weight, LoadMatrix(weights, name));
    return linear;
  }
  const bool rounded = form == WeightForm::kToRunRounded;
  ASSIGN_OR_RETURN(linear.to_run,
                   weights.LoadLinear(name, rounded ? PlaneArithmetic::kRounded : PlaneArithmetic::kExact));
  return linear;
}

absl::StatusOr<Norm> LoadNorm(const WeightSource& weights, const ModelConfig& config, const std::string& module) {
  Norm norm;
  if (!config.affine_norms) return norm;
  ASSIGN_OR_RETURN(norm.weight, LoadVector(weights, module + ".weight"));
  if (config.architecture->norm == NormKind::kLayer) {
    ASSIGN_OR_RETURN(norm.bias, LoadVector(weights, module + ".bias"));
  }
  return norm;
}

}  // namespace quantd
