// Causal attention of one sequence in f32:
//     out_i = sum_j softmax_j(scale * q_i . k_j + slope_head * j) v_j
// over j <= i and, with a window, j > i - window.
// Query heads share key/value heads in order (grouped-query attention).
#ifndef QUANTD_CORE_COMPUTE_ATTENTION_H_
#define QUANTD_CORE_COMPUTE_ATTENTION_H_

#include <cstdint>

#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

struct AttentionOptions {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_size = 0;
  float scale = 1;
  int64_t first_position = 0;      // of query row 0; key row j has position j
  int64_t window = 0;              // 0: none
  absl::Span<const float> slopes;  // ALiBi, one a head; empty: none
};

// queries, out [tokens, heads * head_size]; keys, values [>= first_position + tokens, kv_heads * head_size].
// Parallel over heads and tiles of queries; the result does not depend on the number of threads.
void CausalAttention(const ExecutionContext& context, const AttentionOptions& options, const MatrixView& queries,
                     const MatrixView& keys, const MatrixView& values, MutableMatrixView out);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_ATTENTION_H_
