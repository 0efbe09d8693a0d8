#include "core/quant/optq_factor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/status.h"
#include "core/compute/factorization.h"

namespace quantd {
namespace {

std::vector<double> DiagonalOf(const Matrix& hessian) {
  std::vector<double> diagonal(hessian.rows());
  for (int64_t j = 0; j < hessian.rows(); ++j) diagonal[j] = hessian.at(j, j);
  return diagonal;
}

std::vector<bool> DeadColumns(const std::vector<double>& diagonal) {
  const double threshold = kDeadThreshold * *std::max_element(diagonal.begin(), diagonal.end());
  std::vector<bool> dead(diagonal.size());
  for (size_t j = 0; j < diagonal.size(); ++j) dead[j] = !(diagonal[j] > threshold);
  return dead;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double MeanOfLiving(const std::vector<double>& diagonal, const std::vector<bool>& dead) {
  std::vector<double> living;
  for (size_t j = 0; j < diagonal.size(); ++j) {
    if (!dead[j]) living.push_back(diagonal[j]);
  }
  return Mean(living);
}

std::vector<float> ScaledDiagonal(const std::vector<double>& diagonal, const OptqFactor& factor) {
  std::vector<float> scaled(diagonal.size());
  for (size_t j = 0; j < diagonal.size(); ++j) {
    scaled[j] = factor.dead[j] ? 0.0f : static_cast<float>(factor.scale * diagonal[j]);
  }
  return scaled;
}

// Falling diagonal, equal ones in the order of the model.
std::vector<int32_t> SweepOrder(const std::vector<double>& sort_keys, bool act_order) {
  std::vector<int32_t> order(sort_keys.size());
  std::iota(order.begin(), order.end(), 0);
  if (act_order) {
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return sort_keys[a] > sort_keys[b]; });
  }
  return order;
}

// scale * H + damping * I, rows and columns in sweep order, `diagonal` in place of H's own. Scaled in f64: the scale of
// a tiny sensitivity is beyond f32.
Matrix PermuteScaleDamp(const ExecutionContext& context, const Matrix& hessian, const std::vector<int32_t>& order,
                        const std::vector<double>& diagonal, double scale, double damping) {
  const int64_t n = hessian.rows();
  Matrix damped(n, n);
  context.pool().ParallelFor(n, [&](int64_t i) {
    const float* source = hessian.row(order[i]);
    for (int64_t j = 0; j < n; ++j) damped.at(i, j) = static_cast<float>(scale * source[order[j]]);
    damped.at(i, i) = static_cast<float>(scale * diagonal[order[i]] + damping);
  });
  return damped;
}

}  // namespace

absl::StatusOr<OptqFactor> FactorSensitivity(const ExecutionContext& context, const Matrix& hessian,
                                             const OptqOptions& options) {
  std::vector<double> diagonal = DiagonalOf(hessian);
  OptqFactor result{.dead = DeadColumns(diagonal), .damping = options.damping};
  result.dead_columns = std::count(result.dead.begin(), result.dead.end(), true);
  if (result.dead_columns == hessian.rows()) {  // nothing ever flowed in: any factor is as good as another
    result.gave_up = true;
    return result;
  }
  const double mean_of_living = MeanOfLiving(diagonal, result.dead);
  std::vector<double> sort_keys = diagonal;
  for (size_t j = 0; j < diagonal.size(); ++j) {
    if (!result.dead[j]) continue;
    diagonal[j] = options.authors_dead_columns ? 1.0 : mean_of_living;
    sort_keys[j] = options.authors_dead_columns ? 1.0 : -1.0;
  }
  result.order = SweepOrder(sort_keys, options.act_order);
  // A power of two scales without rounding, whatever the units of the sensitivity.
  result.scale = std::ldexp(1.0, -std::ilogb(Mean(diagonal)));
  result.diagonal = ScaledDiagonal(diagonal, result);
  for (; result.damping_retries <= kMaxDampingRetries; ++result.damping_retries, result.damping *= 10) {
    result.scaled_damping = result.damping * result.scale * Mean(diagonal);
    absl::StatusOr<Matrix> factor = InverseCholeskyUpper(
        context, PermuteScaleDamp(context, hessian, result.order, diagonal, result.scale, result.scaled_damping));
    if (!factor.ok()) continue;
    result.factor = *std::move(factor);
    return result;
  }
  result.damping_retries = kMaxDampingRetries;
  result.damping = 0;
  result.gave_up = true;
  return result;
}

}  // namespace quantd
