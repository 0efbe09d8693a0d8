// How one weight's rounding error is repaid by the others.
#ifndef QUANTD_CORE_QUANT_SOLVER_H_
#define QUANTD_CORE_QUANT_SOLVER_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/quant/grid.h"
#include "core/quant/part_registry.h"
#include "core/quant/recipe.h"

namespace quantd {

// Every column coded, in the order of the model.
struct Solution {
  WeightSlabs values;  // W-hat
  CodeSlabs codes;
  std::vector<std::unique_ptr<FittedGrid>> fits{};
  std::vector<int32_t> fit_of_column{};

  double damping = 0;             // relative, as used; 0 without a factorization
  int damping_retries = 0;        // tenfold increases because the matrix was not positive definite
  bool nearest_fallback = false;  // gave up on the matrix and rounded to nearest
  int64_t dead_columns = 0;
  // tr((W - W-hat) H (W - W-hat)^T), when the solver has it at no cost.
  std::optional<double> squared_error{};
};

// Immutable; thread-safe.
class Solver {
 public:
  virtual ~Solver() = default;
  // `weight` [rows, cols] is finite; `hessian` [cols, cols] symmetric and finite, or empty. Errors are the grid's.
  virtual absl::StatusOr<Solution> Solve(const ExecutionContext& context, const Grid& grid, const MatrixView& weight,
                                         const Matrix& hessian) const = 0;
};

// One row of the registry. A new solver: its .cc, its test, its row in solver_registry.cc, its paragraph in
// docs/methods.md.
struct SolverChoice {
  ChoiceInfo info;
  std::unique_ptr<Solver> (*make)(const Parameters& parameters);
};

absl::Span<const SolverChoice> SolverChoices();
// `parameters` is complete and checked, so that its solver exists.
std::unique_ptr<Solver> MakeSolver(const Parameters& parameters);

std::unique_ptr<Solver> MakeNearestSolver(const Parameters& parameters);
std::unique_ptr<Solver> MakeOptqSolver(const Parameters& parameters);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_SOLVER_H_
