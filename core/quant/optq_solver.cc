// OPTQ: what is swept, in which order, with which factor. The sweep itself is in optq_sweep.cc.
#include <algorithm>
#include <numeric>

#include "core/quant/optq_factor.h"
#include "core/quant/optq_sweep.h"
#include "core/quant/solver.h"

namespace quantd {
namespace {

class OptqSolver : public Solver {
 public:
  explicit OptqSolver(const OptqOptions& options) : options_(options) {}

  absl::StatusOr<Solution> Solve(const ExecutionContext& context, const Grid& grid, const MatrixView& weight,
                                 const Matrix& hessian) const override {
    if (hessian.size() == 0) return RoundToNearest(context, grid, weight);
    ASSIGN_OR_RETURN(OptqFactor factor, FactorSensitivity(context, hessian, options_));
    if (factor.gave_up) return RoundToNearest(context, grid, weight, factor);
    ASSIGN_OR_RETURN(Solution solution, SweepColumns(context, grid, weight, factor, options_));
    solution.damping = factor.damping;
    solution.damping_retries = factor.damping_retries;
    solution.dead_columns = factor.dead_columns;
    return solution;
  }

 private:
  static absl::StatusOr<Solution> RoundToNearest(const ExecutionContext& context, const Grid& grid,
                                                 const MatrixView& weight) {
    return MakeNearestSolver(Parameters())->Solve(context, grid, weight, Matrix());
  }
  static absl::StatusOr<Solution> RoundToNearest(const ExecutionContext& context, const Grid& grid,
                                                 const MatrixView& weight, const OptqFactor& factor) {
    ASSIGN_OR_RETURN(Solution solution, RoundToNearest(context, grid, weight));
    solution.nearest_fallback = true;
    solution.damping_retries = factor.damping_retries;
    solution.dead_columns = factor.dead_columns;
    return solution;
  }

  const OptqOptions options_;
};

}  // namespace

std::unique_ptr<Solver> MakeOptqSolver(const Parameters& parameters) {
  return std::make_unique<OptqSolver>(
      OptqOptions{.damping = parameters.Double("damping"),
                  .act_order = parameters.Bool("act_order"),
                  .static_groups = parameters.Bool("static_groups"),
                  .block_size = parameters.Int("solver_block_size"),
                  .authors_dead_columns = parameters.Text("dead_columns") == "authors"});
}

}  // namespace quantd
