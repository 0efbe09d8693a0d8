// What quantizing one weight matrix does to the outputs of its layer.
#ifndef QUANTD_CORE_EVAL_OUTPUT_ERROR_H_
#define QUANTD_CORE_EVAL_OUTPUT_ERROR_H_

#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// All of them: `weight` and `quantized` [out, in]; a ratio of Frobenius norms; 0 when both norms are 0, +infinity when
// only the reference's is.

// ||X (W - Q)^T|| / ||X W^T|| for inputs X [tokens, in].
double RelativeOutputError(const ExecutionContext& context, const MatrixView& weight, const MatrixView& quantized,
                           const MatrixView& inputs);

// The same from second moments H [in, in], any multiple of X^T X: sqrt(tr(E H E^T) / tr(W H W^T)) with E = W - Q.
double RelativeOutputErrorFromMoments(const ExecutionContext& context, const MatrixView& weight,
                                      const MatrixView& quantized, const MatrixView& moments);

// ||W - Q|| / ||W||: what is left without inputs.
double RelativeWeightError(const MatrixView& weight, const MatrixView& quantized);

}  // namespace quantd

#endif  // QUANTD_CORE_EVAL_OUTPUT_ERROR_H_
