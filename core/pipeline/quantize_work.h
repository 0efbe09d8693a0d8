// What quantizing a model consists of: which layers of a block are measured together, what that costs, and how the
// memory budget is shared. Plans, progress and the work itself read the same rules.
//
// A block is quantized in passes: all layers at once, or input by input (true_sequential). A pass is measured in
// rounds, each with as many statistics as fit into memory; what a pass measures does not change between its rounds, so
// that results do not depend on the budget.
#ifndef QUANTD_CORE_PIPELINE_QUANTIZE_WORK_H_
#define QUANTD_CORE_PIPELINE_QUANTIZE_WORK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/model/transformer.h"
#include "core/quant/recipe.h"

namespace quantd {

// Layers in the order in which they are measured and quantized.
using SitePlans = std::vector<const SitePlan*>;

std::vector<SitePlans> Passes(absl::Span<const SitePlan> plans);
// At least one layer a round, however small the budget.
std::vector<SitePlans> Rounds(const SitePlans& pass, uint64_t statistics_budget_bytes);
// Of the statistics gathered for these layers together; layers of one input may share them.
uint64_t StatisticsBytes(const SitePlans& plans);

// How much of the budget each thing may take; what is left is for weights, one sequence's activations and the solver.
// Activations and gradients beyond their share are kept in mapped files, statistics in several rounds.
struct MemoryShares {
  uint64_t activations = 0;           // of all sequences at one boundary between blocks
  uint64_t original_activations = 0;  // hessian_model=full: the same of the original model
  uint64_t gradients = 0;             // at all boundaries; see also GradientBytesInMemory
  uint64_t statistics = 0;            // of one round
};
// `budget_bytes` of 0: no limit.
MemoryShares SharesOf(uint64_t budget_bytes, bool gradients);
// Of the gradients at all boundaries, each of which takes `boundary_bytes`: their share, but not more than two
// boundaries, however large the budget. Every sequence of a boundary is used once and then not for long, which a mapped
// file serves as well; a job with gradients so needs little more memory than one without.
uint64_t GradientBytesInMemory(uint64_t budget_bytes, uint64_t boundary_bytes);

// The plans of a block's sites, out of those of all.
absl::Span<const SitePlan> BlockPlans(const Transformer& model, absl::Span<const SitePlan> plans, int block);

// Multiply-adds of one pass of so many tokens through a block, and of solving a site.
double BlockWork(const Transformer& model, int block, int64_t tokens);
double SolveWork(const SitePlan& plan);

// One kind of work.
struct WorkRow {
  std::string name;
  int64_t times = 0;
  double multiply_adds = 0;  // of all times together
};
// Kinds that do not occur are left out. The sum is what QuantizeModel reports to Progress.
std::vector<WorkRow> QuantizeWorkRows(const Transformer& model, absl::Span<const SitePlan> plans,
                                      int64_t calibration_tokens, uint64_t statistics_budget_bytes);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_QUANTIZE_WORK_H_
