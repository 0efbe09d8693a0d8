// Columns sorted by group, for kernels that walk through groups as runs.
#ifndef QUANTD_CORE_QUANT_GROUP_ORDER_H_
#define QUANTD_CORE_QUANT_GROUP_ORDER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace quantd {

// The columns of group 0, of group 1, ... each in rising order. nullopt when group g does not begin at g * group_size.
std::optional<std::vector<int32_t>> ColumnsByGroup(absl::Span<const int32_t> group_of_column, int64_t group_size);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_GROUP_ORDER_H_
