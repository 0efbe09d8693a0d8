// Fitting a uniform grid: range, optional search for a tighter one, scale and zero point.
#ifndef QUANTD_CORE_QUANT_UNIFORM_FIT_H_
#define QUANTD_CORE_QUANT_UNIFORM_FIT_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/quant/grid.h"
#include "core/quant/uniform_grid.h"
#include "core/quant/uniform_kernels.h"

namespace quantd {

// One entry a row, padded to whole slabs.
struct UniformScales {
  std::vector<float> scales;  // positive, representable in the storage dtype
  std::vector<float> zeros;   // whole numbers, 0..max_code
};

// SCALE_OUT_OF_RANGE names the first row whose scale the storage dtype cannot hold.
absl::StatusOr<UniformScales> FitUniformScales(const ExecutionContext& context, const UniformOptions& options,
                                               const FitColumns& columns);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNIFORM_FIT_H_
