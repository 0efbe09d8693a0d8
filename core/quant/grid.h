// Which values a weight may take.
//
// A solver sees a grid as two operations: Fit a block of columns, and Nearest value and code of one column of that
// block. When every column has its codes, Assemble packs them. So every grid works under every solver.
#ifndef QUANTD_CORE_QUANT_GRID_H_
#define QUANTD_CORE_QUANT_GRID_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/json.h"
#include "core/compute/execution_context.h"
#include "core/quant/column_slabs.h"
#include "core/quant/part_registry.h"
#include "core/quant/quantized_weight.h"
#include "core/quant/recipe.h"

namespace quantd {

// Columns [first, first + count) of `weights`.
struct FitColumns {
  const WeightSlabs& weights;
  int64_t first = 0;
  int64_t count = 0;
  // 1 / U_jj^2 of those columns (U: the solver's factor): what a squared rounding error there costs after the best
  // repayment, 0 for dead columns. Empty when the solver has no factor. For grids that tell outliers or salient columns
  // by cost.
  absl::Span<const float> column_costs;
  // What the grid's StatisticOf said of the whole weight.
  double statistic = 0;
  // Diagonal of the sensitivity, up to a factor, 0 for dead columns: what a squared rounding error costs when nothing
  // repays it. Empty without a sensitivity.
  absl::Span<const float> diagonal = {};
};

// A grid fitted to a block of columns, all rows. Immutable; Nearest may run for different slabs at once.
class FittedGrid {
 public:
  virtual ~FittedGrid() = default;
  // For column `column` of the block (0 .. count-1) and the kSlabRows rows of `slab`: the representable value nearest
  // to each of `values` and its code. `nearest` may be `values` itself.
  virtual void Nearest(int64_t column, int64_t slab, const float* values, float* nearest, Code* codes) const = 0;
};

// How soon the error of one column may be repaid by others.
enum class Compensation {
  kColumn,  // at once
  // After the whole fitted block, because its columns are coded together: Nearest is asked for the very values that
  // were fitted.
  kBlock,
};

// Which weights a solver that changes them on the way fits.
enum class FitTime {
  kEarly,  // whole rows and static groups before anything changes, others at the beginning of their solver block
  kLate,   // those that the group's first column meets, with the errors of all columns before it; static groups early
};

// What a solver hands over at the end. Columns in the order of the model.
struct CodedColumns {
  const CodeSlabs& codes;
  // W-hat: what the codes must decode to, bit for bit. Grids that keep outliers verbatim read them here.
  const WeightSlabs& values;
  const std::vector<std::unique_ptr<FittedGrid>>& fits;
  const std::vector<int32_t>& fit_of_column;
};

// Immutable; thread-safe.
class Grid {
 public:
  virtual ~Grid() = default;
  // Columns fitted together, 1..cols; `cols` for whole rows. The last group may be shorter, though plans refuse that
  // for files.
  virtual int64_t columns_per_fit(int64_t cols) const = 0;
  virtual Compensation compensation() const { return Compensation::kColumn; }
  virtual FitTime fit_time() const { return FitTime::kEarly; }
  // One number of the whole weight, computed once, before anything changes, and handed to every Fit: what errors of
  // single weights are measured against. `whole` has no statistic yet.
  virtual double StatisticOf(const ExecutionContext& /*context*/, const FitColumns& /*whole*/) const { return 0; }
  // Bits of a weight of this shape as it is stored, as far as they do not depend on its values. For plans.
  virtual double PlannedBits(int64_t rows, int64_t cols) const = 0;
  // Weights are finite. SCALE_OUT_OF_RANGE names the first row whose values the scale's dtype cannot span.
  virtual absl::StatusOr<std::unique_ptr<FittedGrid>> Fit(const ExecutionContext& context,
                                                          const FitColumns& columns) const = 0;
  virtual std::unique_ptr<QuantizedWeight> Assemble(const ExecutionContext& context,
                                                    const CodedColumns& coded) const = 0;
};

// Everything FromTensors of a grid gets. Hostile: nothing in it is checked yet but rows and cols, both >= 1.
struct StoredWeight {
  const Json& description;
  std::vector<StoredTensor> tensors;
  int64_t rows = 0;
  int64_t cols = 0;
  std::string what;  // names the weight in messages
};

// One row of the registry. A new grid: its .cc, its test, its row in grid_registry.cc, its paragraphs in
// docs/methods.md and docs/formats/packed_weights.md.
struct GridChoice {
  ChoiceInfo info;
  std::unique_ptr<Grid> (*make)(const Parameters& parameters);
  absl::StatusOr<std::unique_ptr<QuantizedWeight>> (*read)(StoredWeight stored);
};

absl::Span<const GridChoice> GridChoices();
// `parameters` is complete and checked, so that its grid exists.
std::unique_ptr<Grid> MakeGrid(const Parameters& parameters);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_GRID_H_
