// The column sweep of GPTQ (arXiv 2210.17323): quantize one column, spread its error over the columns not yet done.
#ifndef QUANTD_CORE_QUANT_OPTQ_SWEEP_H_
#define QUANTD_CORE_QUANT_OPTQ_SWEEP_H_

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/quant/grid.h"
#include "core/quant/optq_factor.h"
#include "core/quant/solver.h"

namespace quantd {

// For columns i in sweep order, U = factor.factor:
//     q_i = nearest(w_i);  e_i = (w_i - q_i) / U_ii;  w_j -= e_i U_ij for all j > i
// in blocks of columns: within a block at once, on the rest by one matrix product a block.
//
// Grids that are fitted early: whole rows before dead columns are set to zero, static groups after that, other groups
// when the sweep reaches the block in which they begin: groups smaller than a block do not see the updates of their own
// block, as in the released code. Grids that are fitted late: static groups as above, others when the sweep reaches
// their first column; columns of the group beyond the block then lack the updates of this block.
// Under act_order static groups keep the model's layout; other groups are runs of columns in sweep order. A grid that
// allows repayment between its blocks only has no static groups, and its blocks are those of the sweep.
// The result does not depend on the number of threads.
absl::StatusOr<Solution> SweepColumns(const ExecutionContext& context, const Grid& grid, const MatrixView& weight,
                                      const OptqFactor& factor, const OptqOptions& options);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_OPTQ_SWEEP_H_
