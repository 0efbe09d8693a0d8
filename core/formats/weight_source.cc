#include "core/formats/weight_source.h"

#include <utility>

#include "core/base/status.h"

namespace quantd {

absl::StatusOr<std::unique_ptr<LinearWeight>> WeightSource::LoadLinear(absl::string_view name,
                                                                       PlaneArithmetic /*arithmetic*/) const {
  ASSIGN_OR_RETURN(const std::vector<int64_t> shape, Shape(name));
  Matrix dense(shape[0], shape[1]);
  RETURN_IF_ERROR(ReadRows(name, 0, shape[0], dense.span()));
  return std::make_unique<DenseLinear>(std::move(dense));
}

absl::StatusOr<double> WeightSource::LinearBytes(absl::string_view name) const {
  ASSIGN_OR_RETURN(const std::vector<int64_t> shape, Shape(name));
  return static_cast<double>(shape[0]) * static_cast<double>(shape[1]) * sizeof(float);
}

}  // namespace quantd
