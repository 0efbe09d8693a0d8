// The backward pass of causal attention (attention.h), of one sequence in f32. With P the attention weights, S the
// scores, all of one head:
//     dV = P^T dO      dS = P o (dO V^T - rowsum(P o dO V^T))      dQ = scale dS K      dK = scale dS^T Q
// Weights are computed anew tile by tile, so that no tokens x tokens matrix is held.
#ifndef QUANTD_CORE_COMPUTE_ATTENTION_BACKWARD_H_
#define QUANTD_CORE_COMPUTE_ATTENTION_BACKWARD_H_

#include "core/compute/attention.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// What CausalAttention was given; first_position is 0 and there are as many keys as queries.
struct AttentionInputs {
  MatrixView queries;  // [tokens, heads * head_size]
  MatrixView keys;     // [tokens, kv_heads * head_size]
  MatrixView values;   // the same
};

// Of the same shapes. None may overlap the inputs.
struct AttentionGradients {
  MutableMatrixView queries;
  MutableMatrixView keys;
  MutableMatrixView values;
};

// `out_gradient` [tokens, heads * head_size] is dL/d(out). Heads that share keys and values are summed in order.
// Parallel over heads, so that the result does not depend on the number of threads. Beside the results it holds two
// [tokens, heads * head_size] matrices when heads share keys, and a tile of weights a thread.
void CausalAttentionBackward(const ExecutionContext& context, const AttentionOptions& options,
                             const AttentionInputs& inputs, const MatrixView& out_gradient,
                             const AttentionGradients& gradients);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_ATTENTION_BACKWARD_H_
