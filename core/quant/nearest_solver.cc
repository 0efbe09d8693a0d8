#include <algorithm>

#include "core/quant/solver.h"

namespace quantd {
namespace {

class NearestSolver : public Solver {
 public:
  absl::StatusOr<Solution> Solve(const ExecutionContext& context, const Grid& grid, const MatrixView& weight,
                                 const Matrix& hessian) const override {
    Solution solution{.values = CutIntoSlabs(context, weight), .codes = CodeSlabs(weight.rows, weight.cols)};
    solution.fit_of_column.resize(weight.cols);
    const int64_t group = grid.columns_per_fit(weight.cols);
    std::vector<float> diagonal(hessian.rows());
    for (int64_t c = 0; c < hessian.rows(); ++c) diagonal[c] = hessian.at(c, c);
    const double statistic = grid.StatisticOf(context, {solution.values, 0, weight.cols, {}});
    for (int64_t first = 0; first < weight.cols; first += group) {
      FitColumns columns = {solution.values, first, std::min(group, weight.cols - first), {}, statistic};
      if (!diagonal.empty()) columns.diagonal = absl::MakeConstSpan(diagonal).subspan(first, columns.count);
      RETURN_IF_ERROR(RoundGroup(context, grid, columns, solution));
    }
    return solution;
  }

 private:
  static absl::Status RoundGroup(const ExecutionContext& context, const Grid& grid, const FitColumns& columns,
                                 Solution& solution) {
    ASSIGN_OR_RETURN(std::unique_ptr<FittedGrid> fit, grid.Fit(context, columns));
    context.pool().ParallelFor(solution.values.slabs(), [&](int64_t slab) {
      for (int64_t c = 0; c < columns.count; ++c) {
        float* values = solution.values.column(slab, columns.first + c);
        fit->Nearest(c, slab, values, values, solution.codes.column(slab, columns.first + c));
      }
    });
    for (int64_t c = 0; c < columns.count; ++c) {
      solution.fit_of_column[columns.first + c] = static_cast<int32_t>(solution.fits.size());
    }
    solution.fits.push_back(std::move(fit));
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Solver> MakeNearestSolver(const Parameters& /*parameters*/) {
  return std::make_unique<NearestSolver>();
}

}  // namespace quantd
