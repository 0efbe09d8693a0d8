#include "core/quant/column_slabs.h"

#include <vector>

namespace quantd {
namespace {

// Rows copied together: their cache lines stay in L1 while the columns of 16 such lines are gathered.
constexpr int64_t kRowsTogether = 16;

void CutSlab(const MatrixView& weight, int64_t slab, WeightSlabs& slabs) {
  const int64_t first = slabs.first_row(slab);
  for (int64_t begin = 0; begin < slabs.rows_in(slab); begin += kRowsTogether) {
    const int64_t end = std::min(begin + kRowsTogether, slabs.rows_in(slab));
    for (int64_t j = 0; j < slabs.cols(); ++j) {
      float* column = slabs.column(slab, j);
      const float* source = weight.data + first * weight.stride + j;
      for (int64_t r = begin; r < end; ++r) column[r] = source[r * weight.stride];
    }
  }
}

void PermuteSlab(absl::Span<const int32_t> order, int64_t slab, WeightSlabs& slabs) {
  std::vector<float> before(slabs.column(slab, 0), slabs.column(slab, 0) + slabs.cols() * kSlabRows);
  for (int64_t j = 0; j < slabs.cols(); ++j) {
    std::copy_n(before.data() + order[j] * kSlabRows, kSlabRows, slabs.column(slab, j));
  }
}

bool IsIdentity(absl::Span<const int32_t> order) {
  for (size_t j = 0; j < order.size(); ++j) {
    if (order[j] != static_cast<int32_t>(j)) return false;
  }
  return true;
}

}  // namespace

void PermuteColumns(const ExecutionContext& context, absl::Span<const int32_t> order, WeightSlabs& slabs) {
  if (IsIdentity(order)) return;
  context.pool().ParallelFor(slabs.slabs(), [&](int64_t slab) { PermuteSlab(order, slab, slabs); });
}

WeightSlabs CutIntoSlabs(const ExecutionContext& context, const MatrixView& weight) {
  WeightSlabs slabs(weight.rows, weight.cols);
  context.pool().ParallelFor(slabs.slabs(), [&](int64_t slab) { CutSlab(weight, slab, slabs); });
  return slabs;
}

}  // namespace quantd
