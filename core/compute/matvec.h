// Products with few rows, as in decoding one token: bound by reading the matrix, so that BLAS's packing does not pay.
#ifndef QUANTD_CORE_COMPUTE_MATVEC_H_
#define QUANTD_CORE_COMPUTE_MATVEC_H_

#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Up to so many rows of `a` MatMulTransposed comes here.
inline constexpr int64_t kMaxMatVecRows = 4;

// out[m, n] = a[m, k] * b[n, k]^T      (+ out when accumulate), m <= kMaxMatVecRows. Parallel over fixed tiles of b's
// rows; the same bits for any number of threads and any instruction set.
void MatVecTransposed(const ExecutionContext& context, const MatrixView& a, const MatrixView& b, MutableMatrixView out,
                      bool accumulate);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_MATVEC_H_
