// Fitting one group of a two-level grid, all rows.
#ifndef QUANTD_CORE_QUANT_TWO_LEVEL_FIT_H_
#define QUANTD_CORE_QUANT_TWO_LEVEL_FIT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/quant/grid.h"
#include "core/quant/second_level.h"
#include "core/quant/two_level_grid.h"

namespace quantd {

// Scales, or zeros, of one group in every row.
struct TiledValues {
  std::vector<float> values;        // as decoded; padded to whole slabs
  std::vector<uint8_t> codes;       // by row; empty without a second level
  std::vector<SecondLevel> levels;  // by tile of rows; likewise
};

struct TwoLevelScales {
  TiledValues scales;
  TiledValues zeros;
};

// The error above which a weight is an outlier; infinite when there are none. `whole`: the weight and the costs of its
// columns.
double OutlierThreshold(const ExecutionContext& context, const TwoLevelOptions& options, const FitColumns& whole);

// `columns.statistic` is the OutlierThreshold. SCALE_OUT_OF_RANGE names the first row whose scale the storage dtype
// cannot hold.
absl::StatusOr<TwoLevelScales> FitTwoLevelScales(const ExecutionContext& context, const TwoLevelOptions& options,
                                                 const FitColumns& columns);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_TWO_LEVEL_FIT_H_
