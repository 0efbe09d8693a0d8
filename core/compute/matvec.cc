#include "core/compute/matvec.h"

#include <algorithm>

#include "core/base/checked.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

// Rows of b that one task multiplies: enough to pay for handing out the task, few enough to share a small layer.
constexpr int64_t kTileRows = 64;

}  // namespace

void MatVecTransposed(const ExecutionContext& context, const MatrixView& a, const MatrixView& b, MutableMatrixView out,
                      bool accumulate) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  context.pool().ParallelFor(CeilDiv(b.rows, kTileRows), [&](int64_t tile) {
    const int64_t first = tile * kTileRows;
    const int64_t rows = std::min(kTileRows, b.rows - first);
    for (int64_t r = 0; r < a.rows; ++r) {
      float products[kTileRows];
      float* target = out.row(r) + first;
      kernels.dot_rows(b.row(first), b.stride, a.row(r), accumulate ? products : target, rows, b.cols);
      if (accumulate) kernels.add(products, target, rows);
    }
  });
}

}  // namespace quantd
