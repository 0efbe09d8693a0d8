#include "core/quant/quantize_site.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/compute/tile_product.h"
#include "core/quant/grid.h"
#include "core/quant/solver.h"

namespace quantd {
namespace {

// Rows decoded and multiplied together when errors are measured.
constexpr int64_t kErrorTileRows = 256;

absl::Status CheckShapes(const SitePlan& plan, const MatrixView& weight, const Matrix& hessian) {
  if (weight.rows != plan.site.rows || weight.cols != plan.site.cols || weight.rows < 1 || weight.cols < 1) {
    return InvalidInput("WEIGHT_SHAPE_MISMATCH",
                        absl::StrFormat("%s: weight is [%d, %d], the plan says [%d, %d]", plan.site.name, weight.rows,
                                        weight.cols, plan.site.rows, plan.site.cols));
  }
  if (hessian.size() != 0 && (hessian.rows() != weight.cols || hessian.cols() != weight.cols)) {
    return InvalidInput("HESSIAN_SHAPE_MISMATCH",
                        absl::StrFormat("%s: sensitivity is [%d, %d] for %d inputs", plan.site.name, hessian.rows(),
                                        hessian.cols(), weight.cols));
  }
  return absl::OkStatus();
}

// The first element that is NaN or infinite: row and column.
std::optional<std::pair<int64_t, int64_t>> FirstNotFinite(const ExecutionContext& context, const MatrixView& matrix) {
  std::vector<int64_t> bad(matrix.rows, -1);
  context.pool().ParallelFor(matrix.rows, [&](int64_t row) {
    const absl::Span<const float> values = matrix.row_span(row);
    const auto found = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    if (found != values.end()) bad[row] = found - values.begin();
  });
  for (int64_t row = 0; row < matrix.rows; ++row) {
    if (bad[row] >= 0) return std::make_pair(row, bad[row]);
  }
  return std::nullopt;
}

absl::Status CheckFinite(const ExecutionContext& context, const SitePlan& plan, const MatrixView& matrix,
                         absl::string_view reason, absl::string_view what) {
  const auto bad = FirstNotFinite(context, matrix);
  if (!bad.has_value()) return absl::OkStatus();
  return InvalidInput(
      reason, absl::StrFormat("%s: %s is %g at row %d, column %d; skip this layer with a rule, or repair the "
                              "checkpoint",
                              plan.site.name, what, matrix.at(bad->first, bad->second), bad->first, bad->second));
}

double SquaredNorm(const MatrixView& matrix) {
  double sum = 0;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    for (float value : matrix.row_span(r)) sum += static_cast<double>(value) * value;
  }
  return sum;
}

double Cost(const MatrixView& matrix, const Matrix& hessian) {
  return hessian.size() == 0 ? SquaredNorm(matrix) : QuadraticForm(matrix, hessian.view());
}

// Sum of `tile_cost` over tiles of rows, in the order of the tiles.
template <typename TileCost>
double SumOverTiles(const ExecutionContext& context, const MatrixView& weight, const TileCost& tile_cost) {
  std::vector<double> costs(CeilDiv(weight.rows, kErrorTileRows));
  context.pool().ParallelFor(static_cast<int64_t>(costs.size()), [&](int64_t tile) {
    const int64_t first = tile * kErrorTileRows;
    costs[tile] = tile_cost(first, weight.Rows(first, std::min(kErrorTileRows, weight.rows - first)));
  });
  return std::accumulate(costs.begin(), costs.end(), 0.0);
}

double ErrorCost(const ExecutionContext& context, const QuantizedWeight& quantized, const MatrixView& weight,
                 const Matrix& hessian) {
  return SumOverTiles(context, weight, [&](int64_t first_row, const MatrixView& original) {
    Matrix difference(original.rows, original.cols);
    quantized.DecodeRows(first_row, difference.view());
    for (int64_t r = 0; r < original.rows; ++r) {
      for (int64_t c = 0; c < original.cols; ++c) difference.at(r, c) -= original.at(r, c);
    }
    return Cost(difference.view(), hessian);
  });
}

double RelativeSquaredError(const ExecutionContext& context, const Solution& solution, const QuantizedWeight& quantized,
                            const MatrixView& weight, const Matrix& hessian) {
  const double error =
      solution.squared_error.has_value() ? *solution.squared_error : ErrorCost(context, quantized, weight, hessian);
  const double norm = SumOverTiles(
      context, weight, [&](int64_t /*first_row*/, const MatrixView& original) { return Cost(original, hessian); });
  return norm > 0 ? std::max(0.0, error / norm) : 0;
}

}  // namespace

absl::StatusOr<SiteResult> QuantizeSite(const ExecutionContext& context, const SitePlan& plan, const MatrixView& weight,
                                        const Matrix& hessian) {
  RETURN_IF_ERROR(CheckShapes(plan, weight, hessian));
  RETURN_IF_ERROR(CheckFinite(context, plan, weight, "WEIGHT_NOT_FINITE", "weight"));
  RETURN_IF_ERROR(CheckFinite(context, plan, hessian.view(), "HESSIAN_NOT_FINITE", "sensitivity"));
  const std::unique_ptr<Grid> grid = MakeGrid(plan.parameters);
  const std::unique_ptr<Solver> solver = MakeSolver(plan.parameters);
  absl::StatusOr<Solution> solved = solver->Solve(context, *grid, weight, hessian);
  if (!solved.ok()) return WithContext(solved.status(), plan.site.name);
  SiteResult result{
      .weight = grid->Assemble(context, {solved->codes, solved->values, solved->fits, solved->fit_of_column}),
      .damping = solved->damping,
      .damping_retries = solved->damping_retries,
      .nearest_fallback = solved->nearest_fallback,
      .zero_sensitivity = hessian.size() == 0 && NeedsCalibration(absl::MakeConstSpan(&plan, 1)),
      .dead_columns = solved->dead_columns};
  result.relative_squared_error = RelativeSquaredError(context, *solved, *result.weight, weight, hessian);
  return result;
}

}  // namespace quantd
