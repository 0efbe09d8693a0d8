// Quantizes one weight matrix as its plan says: grid x solver under a sensitivity.
#ifndef QUANTD_CORE_QUANT_QUANTIZE_SITE_H_
#define QUANTD_CORE_QUANT_QUANTIZE_SITE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/quant/quantized_weight.h"
#include "core/quant/recipe.h"
#include "core/tensor/matrix.h"

namespace quantd {

struct SiteResult {
  std::unique_ptr<QuantizedWeight> weight;
  double damping = 0;             // relative damping actually used; 0 without a factorization
  int damping_retries = 0;        // how often the matrix was not positive definite
  bool nearest_fallback = false;  // gave up on the solver and rounded to nearest
  bool zero_sensitivity = false;  // the data says that no error in this layer costs anything; rounded to nearest
  int64_t dead_columns = 0;
  // tr((W - Q) H (W - Q)^T) / tr(W H W^T): relative squared output error on the calibration data. Without a sensitivity
  // ||W - Q||^2 / ||W||^2.
  double relative_squared_error = 0;
};

// `weight` [rows, cols] as in the model; `hessian` [cols, cols] or empty. WEIGHT_NOT_FINITE names site, row and column.
absl::StatusOr<SiteResult> QuantizeSite(const ExecutionContext& context, const SitePlan& plan, const MatrixView& weight,
                                        const Matrix& hessian);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_QUANTIZE_SITE_H_
