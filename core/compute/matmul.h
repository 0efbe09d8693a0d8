// Matrix products in f32. Results depend on shapes and values alone, never on the number of threads: work is cut into
// fixed tiles, each computed by one single-threaded BLAS call.
#ifndef QUANTD_CORE_COMPUTE_MATMUL_H_
#define QUANTD_CORE_COMPUTE_MATMUL_H_

#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// out[m, n] = a[m, k] * b[n, k]^T      (+ out when accumulate). The shape of a linear layer: activations times weight
// rows.
void MatMulTransposed(const ExecutionContext& context, const MatrixView& a, const MatrixView& b, MutableMatrixView out,
                      bool accumulate = false);

// out[m, n] = a[m, k] * b[k, n]        (+ out when accumulate).
void MatMul(const ExecutionContext& context, const MatrixView& a, const MatrixView& b, MutableMatrixView out,
            bool accumulate = false);

// out[m, n] = a[k, m]^T * b[k, n]      (+ out when accumulate). The shape of a weight's gradient: delta^T times input.
void MatMulLeftTransposed(const ExecutionContext& context, const MatrixView& a, const MatrixView& b,
                          MutableMatrixView out, bool accumulate = false);

// out[n, n] += x[t, n]^T * x[t, n], upper triangle only (row <= column).
void SyrkUpper(const ExecutionContext& context, const MatrixView& x, MutableMatrixView out);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_MATMUL_H_
