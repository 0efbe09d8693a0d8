#include "core/compute/gram.h"

#include <algorithm>
#include <vector>

#include "core/base/checked.h"
#include "core/compute/blas.h"

namespace quantd {
namespace {

// A tile of f32 products stays in the second-level cache until it is added to the f64 sums.
constexpr int64_t kTile = 256;

struct TileRange {
  int64_t row, rows, col, cols;
};

// Tiles on or above the diagonal, in rows.
std::vector<TileRange> UpperTiles(int64_t n) {
  std::vector<TileRange> tiles;
  for (int64_t row = 0; row < n; row += kTile) {
    for (int64_t col = row; col < n; col += kTile) {
      tiles.push_back({row, std::min(kTile, n - row), col, std::min(kTile, n - col)});
    }
  }
  return tiles;
}

void AddTile(const MatrixView& x, const TileRange& tile, double* sums) {
  // Kept by the thread: a fresh one would be mapped and zeroed by the kernel for every tile.
  static thread_local std::vector<float> product(kTile * kTile);
  const bool on_diagonal = tile.row == tile.col;
  if (on_diagonal) {
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, tile.rows, x.rows, 1.0f, x.data + tile.row, x.stride, 0.0f,
                product.data(), kTile);
  } else {
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, tile.rows, tile.cols, x.rows, 1.0f, x.data + tile.row,
                x.stride, x.data + tile.col, x.stride, 0.0f, product.data(), kTile);
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    double* sum = sums + (tile.row + r) * x.cols + tile.col;
    const float* row = product.data() + r * kTile;
    for (int64_t c = on_diagonal ? r : 0; c < tile.cols; ++c) sum[c] += static_cast<double>(row[c]);
  }
}

}  // namespace

void AccumulateGram(const ExecutionContext& context, const MatrixView& x, double* sums) {
  UseSingleThreadedBlas();
  const std::vector<TileRange> tiles = UpperTiles(x.cols);
  for (int64_t first = 0; first < x.rows; first += kGramChunk) {
    const MatrixView chunk = x.Rows(first, std::min(kGramChunk, x.rows - first));
    context.pool().ParallelFor(static_cast<int64_t>(tiles.size()),
                               [&](int64_t index) { AddTile(chunk, tiles[index], sums); });
  }
}

}  // namespace quantd
