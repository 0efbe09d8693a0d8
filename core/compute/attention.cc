#include "core/compute/attention.h"

#include <algorithm>
#include <vector>

#include "core/base/checked.h"
#include "core/compute/blas.h"
#include "core/compute/matvec.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

constexpr int64_t kQueryTile = 64;

// Some queries of one head and the keys that any of them sees.
struct Tile {
  int64_t head = 0;
  int64_t row = 0, rows = 0;  // queries
  int64_t position = 0;       // of the first query
  int64_t first_key = 0, key_count = 0;
};

// First key that the query at `position` sees.
int64_t WindowBegin(const AttentionOptions& options, int64_t position) {
  return options.window > 0 ? std::max<int64_t>(0, position - options.window + 1) : 0;
}

Tile TileAt(const AttentionOptions& options, int64_t queries, int64_t index) {
  const int64_t tiles = CeilDiv(queries, kQueryTile);
  Tile tile;
  tile.head = index / tiles;
  tile.row = index % tiles * kQueryTile;
  tile.rows = std::min(kQueryTile, queries - tile.row);
  tile.position = options.first_position + tile.row;
  tile.first_key = WindowBegin(options, tile.position);
  tile.key_count = tile.position + tile.rows - tile.first_key;
  return tile;
}

class TileAttention {
 public:
  TileAttention(const AttentionOptions& options, const VectorKernels& kernels, const Tile& tile)
      : options_(options), kernels_(kernels), tile_(tile) {}

  // All of the tile's head and rows only.
  void Run(const MatrixView& queries, const MatrixView& keys, const MatrixView& values, MutableMatrixView out) const {
    // Kept by the thread: a fresh one would be mapped and zeroed by the kernel for every tile.
    static thread_local std::vector<float> buffer;
    if (static_cast<int64_t>(buffer.size()) < tile_.rows * tile_.key_count) buffer.resize(tile_.rows * tile_.key_count);
    const MutableMatrixView scores = {buffer.data(), tile_.rows, tile_.key_count, tile_.key_count};
    Scores(queries, keys, scores);
    for (int64_t r = 0; r < tile_.rows; ++r) MaskedSoftmax(tile_.position + r, scores.row(r));
    Mix(scores, values, out);
  }

 private:
  // scores = scale * q k^T.
  void Scores(const MatrixView& queries, const MatrixView& keys, MutableMatrixView scores) const {
    if (tile_.rows > kMaxMatVecRows) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, scores.rows, scores.cols, keys.cols, options_.scale,
                  queries.data, queries.stride, keys.data, keys.stride, 0.0f, scores.data, scores.stride);
      return;
    }
    for (int64_t r = 0; r < scores.rows; ++r) {
      kernels_.dot_rows(keys.data, keys.stride, queries.row(r), scores.row(r), scores.cols, keys.cols);
      for (float& score : scores.row_span(r)) score *= options_.scale;
    }
  }

  // out = scores v.
  void Mix(const MatrixView& scores, const MatrixView& values, MutableMatrixView out) const {
    if (tile_.rows > kMaxMatVecRows) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, scores.rows, values.cols, scores.cols, 1.0f, scores.data,
                  scores.stride, values.data, values.stride, 0.0f, out.data, out.stride);
      return;
    }
    for (int64_t r = 0; r < scores.rows; ++r) {
      kernels_.combine_rows(values.data, values.stride, scores.row(r), out.row(r), scores.cols, values.cols);
    }
  }

  // Over the keys that the query at `position` may see; the weights of the others become 0.
  void MaskedSoftmax(int64_t position, float* scores) const {
    const int64_t begin = WindowBegin(options_, position) - tile_.first_key;
    const int64_t end = position + 1 - tile_.first_key;
    std::fill(scores, scores + begin, 0.0f);
    std::fill(scores + end, scores + tile_.key_count, 0.0f);
    if (!options_.slopes.empty()) {
      const float slope = options_.slopes[tile_.head];
      for (int64_t j = begin; j < end; ++j) scores[j] += slope * static_cast<float>(tile_.first_key + j);
    }
    kernels_.softmax(scores + begin, end - begin);
  }

  const AttentionOptions& options_;
  const VectorKernels& kernels_;
  const Tile& tile_;
};

}  // namespace

void CausalAttention(const ExecutionContext& context, const AttentionOptions& options, const MatrixView& queries,
                     const MatrixView& keys, const MatrixView& values, MutableMatrixView out) {
  UseSingleThreadedBlas();
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const int64_t size = options.head_size;
  context.pool().ParallelFor(options.heads * CeilDiv(queries.rows, kQueryTile), [&](int64_t index) {
    const Tile tile = TileAt(options, queries.rows, index);
    const int64_t kv_head = tile.head / (options.heads / options.kv_heads);
    TileAttention(options, kernels, tile)
        .Run(queries.Rows(tile.row, tile.rows).Cols(tile.head * size, size),
             keys.Rows(tile.first_key, tile.key_count).Cols(kv_head * size, size),
             values.Rows(tile.first_key, tile.key_count).Cols(kv_head * size, size),
             out.Rows(tile.row, tile.rows).Cols(tile.head * size, size));
  });
}

}  // namespace quantd
