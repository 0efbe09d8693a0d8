// Attention weights of some queries of one head, shared by the forward and the backward pass. Include in .cc files of
// core/compute only.
#ifndef QUANTD_CORE_COMPUTE_ATTENTION_TILE_H_
#define QUANTD_CORE_COMPUTE_ATTENTION_TILE_H_

#include <cstdint>

#include "core/compute/attention.h"
#include "core/compute/vector_kernels.h"
#include "core/tensor/matrix.h"

namespace quantd {

inline constexpr int64_t kQueryTile = 64;

// Some queries of one head and the keys that any of them sees.
struct AttentionTile {
  int64_t head = 0;
  int64_t row = 0, rows = 0;  // queries
  int64_t position = 0;       // of the first query
  int64_t first_key = 0, key_count = 0;
};

// The tile of `head` whose first query is `row`.
AttentionTile AttentionTileAt(const AttentionOptions& options, int64_t queries, int64_t head, int64_t row);

// weights[r, j] = softmax over the keys that query r sees; 0 for the others. Views of the tile's queries and keys,
// [tile.rows, head_size] and [tile.key_count, head_size].
void AttentionWeights(const AttentionOptions& options, const VectorKernels& kernels, const AttentionTile& tile,
                      const MatrixView& queries, const MatrixView& keys, MutableMatrixView weights);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_ATTENTION_TILE_H_
