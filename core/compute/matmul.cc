#include "core/compute/matmul.h"

#include <algorithm>

#include "core/base/checked.h"
#include "core/compute/blas.h"
#include "core/compute/matvec.h"

namespace quantd {
namespace {

// Output tiles. Large enough that BLAS reaches its rate (it packs both operands a call), small enough that a layer of a
// small model gives both threads work. Independent of the number of threads: that is what makes results so.
constexpr int64_t kTileRows = 256;
constexpr int64_t kTileCols = 256;
constexpr int64_t kSyrkTile = 384;

struct Tile {
  int64_t row, rows, col, cols;
};

Tile TileAt(int64_t index, int64_t rows, int64_t cols) {
  const int64_t tiles_across = CeilDiv(cols, kTileCols);
  const int64_t row = index / tiles_across * kTileRows;
  const int64_t col = index % tiles_across * kTileCols;
  return {row, std::min(kTileRows, rows - row), col, std::min(kTileCols, cols - col)};
}

int64_t TileCount(int64_t rows, int64_t cols) {
  return CeilDiv(rows, kTileRows) * CeilDiv(cols, kTileCols);
}

}  // namespace

void MatMulTransposed(const ExecutionContext& context, const MatrixView& a, const MatrixView& b, MutableMatrixView out,
                      bool accumulate) {
  if (a.rows <= kMaxMatVecRows) return MatVecTransposed(context, a, b, out, accumulate);
  UseSingleThreadedBlas();
  context.pool().ParallelFor(TileCount(out.rows, out.cols), [&](int64_t index) {
    const Tile t = TileAt(index, out.rows, out.cols);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t.rows, t.cols, a.cols, 1.0f, a.row(t.row), a.stride,
                b.row(t.col), b.stride, accumulate ? 1.0f : 0.0f, out.row(t.row) + t.col, out.stride);
  });
}

void MatMul(const ExecutionContext& context, const MatrixView& a, const MatrixView& b, MutableMatrixView out,
            bool accumulate) {
  UseSingleThreadedBlas();
  context.pool().ParallelFor(TileCount(out.rows, out.cols), [&](int64_t index) {
    const Tile t = TileAt(index, out.rows, out.cols);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t.rows, t.cols, a.cols, 1.0f, a.row(t.row), a.stride,
                b.data + t.col, b.stride, accumulate ? 1.0f : 0.0f, out.row(t.row) + t.col, out.stride);
  });
}

void MatMulLeftTransposed(const ExecutionContext& context, const MatrixView& a, const MatrixView& b,
                          MutableMatrixView out, bool accumulate) {
  UseSingleThreadedBlas();
  context.pool().ParallelFor(TileCount(out.rows, out.cols), [&](int64_t index) {
    const Tile t = TileAt(index, out.rows, out.cols);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, t.rows, t.cols, a.rows, 1.0f, a.data + t.row, a.stride,
                b.data + t.col, b.stride, accumulate ? 1.0f : 0.0f, out.row(t.row) + t.col, out.stride);
  });
}

void SyrkUpper(const ExecutionContext& context, const MatrixView& x, MutableMatrixView out) {
  UseSingleThreadedBlas();
  const int64_t tiles = CeilDiv(x.cols, kSyrkTile);
  context.pool().ParallelFor(tiles * tiles, [&](int64_t index) {
    const int64_t row = index / tiles * kSyrkTile;
    const int64_t col = index % tiles * kSyrkTile;
    if (row > col) return;
    const int64_t rows = std::min(kSyrkTile, x.cols - row);
    const int64_t cols = std::min(kSyrkTile, x.cols - col);
    if (row == col) {
      cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, rows, x.rows, 1.0f, x.data + row, x.stride, 1.0f,
                  out.row(row) + col, out.stride);
    } else {
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, cols, x.rows, 1.0f, x.data + row, x.stride,
                  x.data + col, x.stride, 1.0f, out.row(row) + col, out.stride);
    }
  });
}

}  // namespace quantd
