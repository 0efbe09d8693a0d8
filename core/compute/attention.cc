#include "core/compute/attention.h"

#include <algorithm>
#include <vector>

#include "core/base/checked.h"
#include "core/compute/blas.h"
#include "core/compute/vector_math.h"

namespace quantd {
namespace {

constexpr int64_t kQueryTile = 64;

// Softmax of one row of scores over the keys it may see; the others become 0.
void MaskedSoftmax(const AttentionOptions& options, int64_t head, int64_t position, absl::Span<float> scores,
                   int64_t first_key) {
  const int64_t begin = options.window > 0 ? std::max<int64_t>(0, position - options.window + 1) - first_key : 0;
  const int64_t end = position + 1 - first_key;
  std::fill(scores.begin(), scores.begin() + std::max<int64_t>(begin, 0), 0.0f);
  std::fill(scores.begin() + end, scores.end(), 0.0f);
  absl::Span<float> visible = scores.subspan(std::max<int64_t>(begin, 0), end - std::max<int64_t>(begin, 0));
  if (!options.slopes.empty()) {
    const float slope = options.slopes[head];
    const int64_t first = first_key + std::max<int64_t>(begin, 0);
    for (size_t j = 0; j < visible.size(); ++j)
      visible[j] += slope * static_cast<float>(first + static_cast<int64_t>(j));
  }
  Softmax(visible);
}

}  // namespace

void CausalAttention(const ExecutionContext& context, const AttentionOptions& options, const MatrixView& queries,
                     const MatrixView& keys, const MatrixView& values, MutableMatrixView out) {
  UseSingleThreadedBlas();
  const int64_t tiles = CeilDiv(queries.rows, kQueryTile);
  const int64_t size = options.head_size;
  context.pool().ParallelFor(options.heads * tiles, [&](int64_t index) {
    const int64_t head = index / tiles;
    const int64_t kv_head = head / (options.heads / options.kv_heads);
    const int64_t row = index % tiles * kQueryTile;
    const int64_t rows = std::min(kQueryTile, queries.rows - row);
    const int64_t first_position = options.first_position + row;
    const int64_t first_key = options.window > 0 ? std::max<int64_t>(0, first_position - options.window + 1) : 0;
    const int64_t key_count = first_position + rows - first_key;
    std::vector<float> scores(static_cast<size_t>(rows * key_count));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, key_count, size, options.scale,
                queries.row(row) + head * size, queries.stride, keys.row(first_key) + kv_head * size, keys.stride, 0.0f,
                scores.data(), key_count);
    for (int64_t r = 0; r < rows; ++r) {
      MaskedSoftmax(options, head, first_position + r, absl::MakeSpan(scores).subspan(r * key_count, key_count),
                    first_key);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, size, key_count, 1.0f, scores.data(), key_count,
                values.row(first_key) + kv_head * size, values.stride, 0.0f, out.row(row) + head * size, out.stride);
  });
}

}  // namespace quantd
