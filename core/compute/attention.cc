#include "core/compute/attention.h"

#include <vector>

#include "core/base/checked.h"
#include "core/compute/attention_tile.h"
#include "core/compute/blas.h"
#include "core/compute/matvec.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

// out = weights v.
void Mix(const VectorKernels& kernels, const MatrixView& weights, const MatrixView& values, MutableMatrixView out) {
  if (weights.rows > kMaxMatVecRows) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, weights.rows, values.cols, weights.cols, 1.0f, weights.data,
                weights.stride, values.data, values.stride, 0.0f, out.data, out.stride);
    return;
  }
  for (int64_t r = 0; r < weights.rows; ++r) {
    kernels.combine_rows(values.data, values.stride, weights.row(r), out.row(r), weights.cols, values.cols);
  }
}

}  // namespace

void CausalAttention(const ExecutionContext& context, const AttentionOptions& options, const MatrixView& queries,
                     const MatrixView& keys, const MatrixView& values, MutableMatrixView out) {
  UseSingleThreadedBlas();
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const int64_t size = options.head_size;
  const int64_t tiles = CeilDiv(queries.rows, kQueryTile);
  context.pool().ParallelFor(options.heads * tiles, [&](int64_t index) {
    const AttentionTile tile = AttentionTileAt(options, queries.rows, index / tiles, index % tiles * kQueryTile);
    const int64_t kv_head = tile.head / (options.heads / options.kv_heads);
    // Kept by the thread: a fresh one would be mapped and zeroed by the kernel for every tile.
    static thread_local std::vector<float> buffer;
    if (static_cast<int64_t>(buffer.size()) < tile.rows * tile.key_count) buffer.resize(tile.rows * tile.key_count);
    const MutableMatrixView weights = {buffer.data(), tile.rows, tile.key_count, tile.key_count};
    AttentionWeights(options, kernels, tile, queries.Rows(tile.row, tile.rows).Cols(tile.head * size, size),
                     keys.Rows(tile.first_key, tile.key_count).Cols(kv_head * size, size), weights);
    Mix(kernels, weights, values.Rows(tile.first_key, tile.key_count).Cols(kv_head * size, size),
        out.Rows(tile.row, tile.rows).Cols(tile.head * size, size));
  });
}

}  // namespace quantd
