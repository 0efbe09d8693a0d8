#include "core/compute/linear_weight.h"

#include <algorithm>

#include "core/base/checked.h"
#include "core/compute/matmul.h"
#include "core/compute/matvec.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

// Weight rows widened at once for a large product: those of one tile of MatMulTransposed's result.
constexpr int64_t kWidenedRows = 256;
// Weight rows that one task of a small product multiplies.
constexpr int64_t kTileRows = 64;

}  // namespace

void DenseLinear::Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                           bool accumulate) const {
  MatMulTransposed(context, a, weight_.view(), out, accumulate);
}

HalfLinear::HalfLinear(Dtype dtype, int64_t rows, int64_t cols)
    : dtype_(dtype),
      rows_(rows),
      cols_(cols),
      data_(AllocateZeroedArray<uint16_t>(static_cast<size_t>(rows * cols))) {}

void HalfLinear::SetRows(int64_t first_row, const MatrixView& values) {
  for (int64_t r = 0; r < values.rows; ++r) {
    NarrowFromF32(dtype_, values.row_span(r), reinterpret_cast<char*>(data_.get() + (first_row + r) * cols_));
  }
}

void HalfLinear::Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                          bool accumulate) const {
  a.rows <= kMaxMatVecRows ? MultiplyFew(context, a, out, accumulate) : MultiplyMany(context, a, out, accumulate);
}

void HalfLinear::MultiplyFew(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                             bool accumulate) const {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const auto dot_rows = dtype_ == Dtype::kBf16 ? kernels.dot_rows_bf16 : kernels.dot_rows_f16;
  context.pool().ParallelFor(CeilDiv(rows_, kTileRows), [&](int64_t tile) {
    const int64_t first = tile * kTileRows;
    const int64_t rows = std::min(kTileRows, rows_ - first);
    for (int64_t r = 0; r < a.rows; ++r) {
      float products[kTileRows];
      float* target = out.row(r) + first;
      dot_rows(row(first), cols_, a.row(r), accumulate ? products : target, rows, cols_);
      if (accumulate) kernels.add(products, target, rows);
    }
  });
}

void HalfLinear::MultiplyMany(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                              bool accumulate) const {
  context.pool().ParallelFor(CeilDiv(rows_, kWidenedRows), [&](int64_t tile) {
    const int64_t first = tile * kWidenedRows;
    Matrix widened(std::min(kWidenedRows, rows_ - first), cols_);
    WidenToF32(dtype_, reinterpret_cast<const char*>(row(first)), widened.span());
    MatMulTransposed(context, a, widened.view(), out.Cols(first, widened.rows()), accumulate);
  });
}

void PlanesLinear::Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                            bool accumulate) const {
  MultiplyPlanes(context, a, planes_, out, {.accumulate = accumulate, .arithmetic = arithmetic_});
}

}  // namespace quantd
