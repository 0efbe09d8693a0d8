// The search for a tighter range: of the ranges shrunk by 0, 1, ... 79 percent the one with the least sum of
// |error|^2.4 (as in the released GPTQ code), a row at a time or for all rows together.
//
// Sums over the rounded f32 values decide, except among those that differ by less than such sums are exact to: these
// are computed again in f64 from ranges and scales that are not rounded, so that the choice does not depend on
// rounding.
#ifndef QUANTD_CORE_QUANT_CLIP_SEARCH_H_
#define QUANTD_CORE_QUANT_CLIP_SEARCH_H_

#include <vector>

#include "core/compute/execution_context.h"
#include "core/quant/grid.h"
#include "core/quant/uniform_grid.h"

namespace quantd {

// Adjusted ranges (uniform_range.h), one entry a row, padded to whole slabs.
struct WeightRanges {
  const std::vector<float>& lo;
  const std::vector<float>& hi;
};

// The whole range, in percent.
inline constexpr int kFullPercent = 100;

// What the chosen range keeps of the full one, in percent: 100 ... 21; one entry a row, padded to whole slabs.
std::vector<int> SearchClipping(const ExecutionContext& context, const UniformOptions& options,
                                const FitColumns& columns, WeightRanges ranges);

// The factor of a percentage.
inline float ShrinkOf(int percent) {
  return static_cast<float>(percent / 100.0);
}

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_CLIP_SEARCH_H_
