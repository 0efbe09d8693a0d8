#include "core/compute/attention_tile.h"

#include <algorithm>

#include "core/compute/blas.h"
#include "core/compute/matvec.h"

namespace quantd {
namespace {

// First key that the query at `position` sees.
int64_t WindowBegin(const AttentionOptions& options, int64_t position) {
  return options.window > 0 ? std::max<int64_t>(0, position - options.window + 1) : 0;
}

// scores = scale * q k^T.
void Scores(const VectorKernels& kernels, float scale, const MatrixView& queries, const MatrixView& keys,
            MutableMatrixView scores) {
  if (queries.rows > kMaxMatVecRows) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, scores.rows, scores.cols, keys.cols, scale, queries.data,
                queries.stride, keys.data, keys.stride, 0.0f, scores.data, scores.stride);
    return;
  }
  for (int64_t r = 0; r < scores.rows; ++r) {
    kernels.dot_rows(keys.data, keys.stride, queries.row(r), scores.row(r), scores.cols, keys.cols);
    for (float& score : scores.row_span(r)) score *= scale;
  }
}

// Over the keys that the query at `position` may see; the weights of the others become 0.
void MaskedSoftmax(const AttentionOptions& options, const VectorKernels& kernels, const AttentionTile& tile,
                   int64_t position, float* scores) {
  const int64_t begin = WindowBegin(options, position) - tile.first_key;
  const int64_t end = position + 1 - tile.first_key;
  std::fill(scores, scores + begin, 0.0f);
  std::fill(scores + end, scores + tile.key_count, 0.0f);
  if (!options.slopes.empty()) {
    const float slope = options.slopes[tile.head];
    for (int64_t j = begin; j < end; ++j) scores[j] += slope * static_cast<float>(tile.first_key + j);
  }
  kernels.softmax(scores + begin, end - begin);
}

}  // namespace

AttentionTile AttentionTileAt(const AttentionOptions& options, int64_t queries, int64_t head, int64_t row) {
  AttentionTile tile;
  tile.head = head;
  tile.row = row;
  tile.rows = std::min(kQueryTile, queries - row);
  tile.position = options.first_position + row;
  tile.first_key = WindowBegin(options, tile.position);
  tile.key_count = tile.position + tile.rows - tile.first_key;
  return tile;
}

void AttentionWeights(const AttentionOptions& options, const VectorKernels& kernels, const AttentionTile& tile,
                      const MatrixView& queries, const MatrixView& keys, MutableMatrixView weights) {
  Scores(kernels, options.scale, queries, keys, weights);
  for (int64_t r = 0; r < tile.rows; ++r) MaskedSoftmax(options, kernels, tile, tile.position + r, weights.row(r));
}

}  // namespace quantd
