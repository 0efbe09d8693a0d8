// The small operations between linears. All parallel over rows, independent of the number of threads.
#ifndef QUANTD_CORE_MODEL_LAYER_OPS_H_
#define QUANTD_CORE_MODEL_LAYER_OPS_H_

#include "core/compute/execution_context.h"
#include "core/model/architecture.h"
#include "core/model/transformer.h"
#include "core/tensor/matrix.h"

namespace quantd {

// out = in * weight^T + bias. `in` and `out` must not overlap.
void ApplyLinear(const ExecutionContext& context, const Linear& linear, const MatrixView& in, MutableMatrixView out);

// RMS: x / sqrt(mean x^2 + epsilon) * weight.  Layer: (x - mean) / sqrt(variance + epsilon) * weight + bias.
// `size` elements at a time: a row holds one group or more (per-head norms). In place is fine.
struct NormOptions {
  NormKind kind = NormKind::kRms;
  double epsilon = 1e-6;
};
void ApplyNorm(const ExecutionContext& context, const NormOptions& options, const Norm& norm, const MatrixView& in,
               MutableMatrixView out, int64_t size);

// gate = activation(gate) * up; without a gate: up = activation(up).
void ApplyGate(const ExecutionContext& context, Activation activation, MutableMatrixView gate, const MatrixView& up);
void ApplyActivation(const ExecutionContext& context, Activation activation, MutableMatrixView values);

// into += from
void AddRows(const ExecutionContext& context, const MatrixView& from, MutableMatrixView into);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_LAYER_OPS_H_
