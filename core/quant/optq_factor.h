// From a sensitivity to what the column sweep needs: order of columns, dead columns, damped inverse factor.
#ifndef QUANTD_CORE_QUANT_OPTQ_FACTOR_H_
#define QUANTD_CORE_QUANT_OPTQ_FACTOR_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

struct OptqOptions {
  double damping = 0.01;       // of the mean diagonal
  bool act_order = false;      // columns by falling diagonal of the sensitivity
  bool static_groups = false;  // grids fitted before the sweep
  int64_t block_size = 128;    // columns between updates of the rest
  // Dead columns enter the mean diagonal with 1, as in the released GPTQ code: then scaling the sensitivity changes the
  // damping. Else with the mean of the others, and last in act order.
  bool authors_dead_columns = false;
};

struct OptqFactor {
  std::vector<int32_t> order{};   // step of the sweep -> column of the model
  std::vector<bool> dead{};       // by column of the model: no input ever reached it
  std::vector<float> diagonal{};  // by column of the model, of scale * H without damping; 0 for dead columns
  int64_t dead_columns = 0;
  // U in sweep order: upper triangular, U^T U = (scale * H + scaled_damping * I)^-1. The scale brings the mean diagonal
  // to 1..2.
  Matrix factor{};
  double scale = 1;
  double scaled_damping = 0;
  double damping = 0;       // relative to the mean diagonal, as used
  int damping_retries = 0;  // tenfold increases
  bool gave_up = false;     // no factor even then
};

inline constexpr int kMaxDampingRetries = 3;
// A column is dead when its diagonal is at most this share of the largest. Relative, so that scaling the sensitivity
// changes nothing; far below 1e-12, which small and outlying channels of real models do reach.
inline constexpr double kDeadThreshold = 1e-16;

absl::StatusOr<OptqFactor> FactorSensitivity(const ExecutionContext& context, const Matrix& hessian,
                                             const OptqOptions& options);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_OPTQ_FACTOR_H_
