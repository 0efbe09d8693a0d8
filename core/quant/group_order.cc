#include "core/quant/group_order.h"

#include <algorithm>
#include <numeric>

namespace quantd {

std::optional<std::vector<int32_t>> ColumnsByGroup(absl::Span<const int32_t> group_of_column, int64_t group_size) {
  std::vector<int32_t> columns(group_of_column.size());
  std::iota(columns.begin(), columns.end(), 0);
  std::stable_sort(columns.begin(), columns.end(),
                   [&](int32_t a, int32_t b) { return group_of_column[a] < group_of_column[b]; });
  for (size_t i = 0; i < columns.size(); ++i) {
    if (group_of_column[columns[i]] != static_cast<int64_t>(i) / group_size) return std::nullopt;
  }
  return columns;
}

}  // namespace quantd
