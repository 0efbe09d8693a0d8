#include "core/compute/attention_backward.h"

#include <algorithm>
#include <vector>

#include "core/base/checked.h"
#include "core/compute/attention_tile.h"
#include "core/compute/blas.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

// out = alpha a b + beta out, with a, b or none of them transposed.
struct Product {
  CBLAS_TRANSPOSE a = CblasNoTrans;
  CBLAS_TRANSPOSE b = CblasNoTrans;
  float alpha = 1;
  float beta = 0;
};
void Multiply(const Product& product, const MatrixView& a, const MatrixView& b, MutableMatrixView out) {
  const int64_t inner = product.a == CblasNoTrans ? a.cols : a.rows;
  cblas_sgemm(CblasRowMajor, product.a, product.b, out.rows, out.cols, inner, product.alpha, a.data, a.stride, b.data,
              b.stride, product.beta, out.data, out.stride);
}

// One head: all views have head_size columns, and those of `into` belong to this head alone.
class HeadBackward {
 public:
  HeadBackward(const AttentionOptions& options, const VectorKernels& kernels, int64_t head, const AttentionInputs& in)
      : options_(options), kernels_(kernels), head_(head), in_(in) {}

  void Run(const MatrixView& out_gradient, const AttentionGradients& into) const {
    for (const MutableMatrixView& sums : {into.keys, into.values}) {
      for (int64_t t = 0; t < sums.rows; ++t) std::fill_n(sums.row(t), sums.cols, 0.0f);
    }
    for (int64_t row = 0; row < in_.queries.rows; row += kQueryTile) {
      const AttentionTile tile = AttentionTileAt(options_, in_.queries.rows, head_, row);
      RunTile(tile, out_gradient.Rows(row, tile.rows),
              {into.queries.Rows(row, tile.rows), into.keys.Rows(tile.first_key, tile.key_count),
               into.values.Rows(tile.first_key, tile.key_count)});
    }
  }

 private:
  void RunTile(const AttentionTile& tile, const MatrixView& out_gradient, const AttentionGradients& into) const {
    // Kept by the thread: fresh ones would be mapped and zeroed by the kernel for every tile.
    static thread_local std::vector<float> buffer;
    const int64_t size = tile.rows * tile.key_count;
    if (static_cast<int64_t>(buffer.size()) < 2 * size) buffer.resize(2 * size);
    const MutableMatrixView weights = {buffer.data(), tile.rows, tile.key_count, tile.key_count};
    const MutableMatrixView scores = {buffer.data() + size, tile.rows, tile.key_count, tile.key_count};
    const MatrixView queries = in_.queries.Rows(tile.row, tile.rows);
    const MatrixView keys = in_.keys.Rows(tile.first_key, tile.key_count);
    const MatrixView values = in_.values.Rows(tile.first_key, tile.key_count);
    AttentionWeights(options_, kernels_, tile, queries, keys, weights);
    Multiply({.a = CblasTrans, .beta = 1}, weights, out_gradient, into.values);
    Multiply({.b = CblasTrans}, out_gradient, values, scores);
    // Keys that a query does not see have no weight, and so no gradient.
    for (int64_t r = 0; r < tile.rows; ++r) kernels_.softmax_gradient(weights.row(r), scores.row(r), tile.key_count);
    Multiply({.alpha = options_.scale}, scores, keys, into.queries);
    Multiply({.a = CblasTrans, .alpha = options_.scale, .beta = 1}, scores, queries, into.keys);
  }

  const AttentionOptions& options_;
  const VectorKernels& kernels_;
  const int64_t head_;
  const AttentionInputs in_;
};

// into[:, kv head] = sum over its query heads, in order.
void SumHeads(const ExecutionContext& context, const AttentionOptions& options, const MatrixView& of_heads,
              MutableMatrixView into) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const int64_t size = options.head_size;
  const int64_t group = options.heads / options.kv_heads;
  context.pool().ParallelFor(CeilDiv(into.rows, kQueryTile), [&](int64_t tile) {
    for (int64_t t = tile * kQueryTile; t < std::min(into.rows, (tile + 1) * kQueryTile); ++t) {
      for (int64_t head = 0; head < options.heads; ++head) {
        float* sum = into.row(t) + head / group * size;
        const float* from = of_heads.row(t) + head * size;
        if (head % group == 0) {
          std::copy_n(from, size, sum);
        } else {
          kernels.add(from, sum, size);
        }
      }
    }
  });
}

void RunHeads(const ExecutionContext& context, const AttentionOptions& options, const AttentionInputs& inputs,
              const MatrixView& out_gradient, const AttentionGradients& of_heads) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const int64_t size = options.head_size;
  context.pool().ParallelFor(options.heads, [&](int64_t head) {
    const int64_t own = head * size;
    const int64_t shared = head / (options.heads / options.kv_heads) * size;
    HeadBackward(options, kernels, head,
                 {inputs.queries.Cols(own, size), inputs.keys.Cols(shared, size), inputs.values.Cols(shared, size)})
        .Run(out_gradient.Cols(own, size),
             {of_heads.queries.Cols(own, size), of_heads.keys.Cols(own, size), of_heads.values.Cols(own, size)});
  });
}

}  // namespace

void CausalAttentionBackward(const ExecutionContext& context, const AttentionOptions& options,
                             const AttentionInputs& inputs, const MatrixView& out_gradient,
                             const AttentionGradients& gradients) {
  UseSingleThreadedBlas();
  if (options.heads == options.kv_heads) return RunHeads(context, options, inputs, out_gradient, gradients);
  // Kept by the thread, as above.
  static thread_local Matrix of_heads;
  const int64_t tokens = inputs.keys.rows, cols = out_gradient.cols;
  if (of_heads.size() < 2 * tokens * cols) of_heads = Matrix(2 * tokens, cols);
  const MutableMatrixView keys = {of_heads.data(), tokens, cols, cols};
  const MutableMatrixView values = {of_heads.data() + tokens * cols, tokens, cols, cols};
  RunHeads(context, options, inputs, out_gradient, {gradients.queries, keys, values});
  SumHeads(context, options, keys, gradients.keys);
  SumHeads(context, options, values, gradients.values);
}

}  // namespace quantd
