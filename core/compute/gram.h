// Sums of outer products, the second moments of a layer's inputs.
#ifndef QUANTD_CORE_COMPUTE_GRAM_H_
#define QUANTD_CORE_COMPUTE_GRAM_H_

#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// sums[n, n] += x[t, n]^T * x[t, n], upper triangle only (row <= column), sums row-major in f64.
//
// Products of up to kGramChunk rows are summed in f32 by one BLAS call for each fixed tile, and added to the f64 sums:
// relative error of an entry is that of one f32 sum of kGramChunk terms, however many calls follow. The same for any
// number of threads.
inline constexpr int64_t kGramChunk = 2048;
void AccumulateGram(const ExecutionContext& context, const MatrixView& x, double* sums);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_GRAM_H_
