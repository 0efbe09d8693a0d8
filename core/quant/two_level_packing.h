// From coded columns and fitted groups to a packed two-level weight.
#ifndef QUANTD_CORE_QUANT_TWO_LEVEL_PACKING_H_
#define QUANTD_CORE_QUANT_TWO_LEVEL_PACKING_H_

#include <memory>

#include "absl/types/span.h"
#include "core/quant/grid.h"
#include "core/quant/two_level_fit.h"
#include "core/quant/two_level_weight.h"

namespace quantd {

// Set in the code of an outlier, beside the code of 0.
inline constexpr Code kTwoLevelOutlier = 0x8000;

// `layout` but for its outliers, which are counted here, and whole zeros, which become plain ones when some zero does
// not fit a code. `scales`: one a group.
std::unique_ptr<QuantizedWeight> PackTwoLevelWeight(const ExecutionContext& context, TwoLevelLayout layout,
                                                    const CodedColumns& coded,
                                                    absl::Span<const TwoLevelScales* const> scales);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_TWO_LEVEL_PACKING_H_
