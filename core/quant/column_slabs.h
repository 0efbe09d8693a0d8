// A matrix [rows, cols] as the solvers walk it: rows cut into slabs of kSlabRows, within a slab column after column, so
// that one step over a column is a run of kSlabRows contiguous values and slabs can be worked on in parallel.
//
// The slab height is a constant: how work is cut never depends on the number of threads. Padding rows of the last slab
// are zero at first; loops may run over them.
#ifndef QUANTD_CORE_QUANT_COLUMN_SLABS_H_
#define QUANTD_CORE_QUANT_COLUMN_SLABS_H_

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "core/base/checked.h"
#include "core/base/zeroed_buffer.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

inline constexpr int64_t kSlabRows = 128;

template <typename T>
class ColumnSlabs {
 public:
  ColumnSlabs(int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols), values_(AllocateZeroedArray<T>(static_cast<size_t>(slabs() * cols * kSlabRows))) {}

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t slabs() const { return CeilDiv(rows_, kSlabRows); }
  int64_t first_row(int64_t slab) const { return slab * kSlabRows; }
  int64_t rows_in(int64_t slab) const { return std::min(kSlabRows, rows_ - first_row(slab)); }
  T* column(int64_t slab, int64_t col) { return values_.get() + (slab * cols_ + col) * kSlabRows; }
  const T* column(int64_t slab, int64_t col) const { return values_.get() + (slab * cols_ + col) * kSlabRows; }
  T at(int64_t row, int64_t col) const { return column(row / kSlabRows, col)[row % kSlabRows]; }

 private:
  int64_t rows_;
  int64_t cols_;
  ZeroedBuffer<T> values_;
};

using WeightSlabs = ColumnSlabs<float>;
// What a grid calls a value, as wide as any grid needs; the grid packs them.
using Code = uint16_t;
using CodeSlabs = ColumnSlabs<Code>;

WeightSlabs CutIntoSlabs(const ExecutionContext& context, const MatrixView& weight);

// Moves column order[j] to column j, in place.
void PermuteColumns(const ExecutionContext& context, absl::Span<const int32_t> order, WeightSlabs& slabs);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_COLUMN_SLABS_H_
