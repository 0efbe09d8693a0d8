// The small operations of layer_ops.h and positions.h, backward: each takes dL/d(its result) and gives dL/d(its
// argument). All parallel over rows, independent of the number of threads.
#ifndef QUANTD_CORE_MODEL_LAYER_BACKWARD_H_
#define QUANTD_CORE_MODEL_LAYER_BACKWARD_H_

#include "core/compute/execution_context.h"
#include "core/model/layer_ops.h"
#include "core/model/positions.h"
#include "core/model/transformer.h"
#include "core/tensor/matrix.h"

namespace quantd {

// in_gradient = delta * weight, or added to it. They must not overlap.
void LinearBackward(const ExecutionContext& context, const Linear& linear, const MatrixView& delta,
                    MutableMatrixView in_gradient, Into into = Into::kReplace);

// `in`: what ApplyNorm was given. `gradient` in place.
void NormBackward(const ExecutionContext& context, const NormOptions& options, const Norm& norm, const MatrixView& in,
                  MutableMatrixView gradient, int64_t size);

// `in`: what ApplyActivation was given. `gradient` in place.
void ActivationBackward(const ExecutionContext& context, Activation activation, const MatrixView& in,
                        MutableMatrixView gradient);

// out_gradient = dL/d(activation(in) * up). Puts dL/d(in) into `gate`, whatever was there, and dL/d(up) in the place of
// up. Leaves activation(in) in `in`.
void GateBackward(const ExecutionContext& context, Activation activation, const MatrixView& out_gradient,
                  MutableMatrixView in, MutableMatrixView gate, MutableMatrixView up);

// The turn of ApplyRotary, from position 0 on, back: a rotation's transpose is its inverse. In place.
void RotaryBackward(const ExecutionContext& context, const RotaryTable& table, int64_t head_size,
                    MutableMatrixView gradient);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_LAYER_BACKWARD_H_
