// The small operations between linears. All parallel over rows, independent of the number of threads.
#ifndef QUANTD_CORE_MODEL_LAYER_OPS_H_
#define QUANTD_CORE_MODEL_LAYER_OPS_H_

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "core/base/checked.h"
#include "core/compute/execution_context.h"
#include "core/compute/vector_kernels.h"
#include "core/model/architecture.h"
#include "core/model/transformer.h"
#include "core/tensor/matrix.h"

namespace quantd {

// body(row) for every row, some at a time: one row alone would not pay for handing it out.
template <typename Body>
void ForRows(const ExecutionContext& context, int64_t rows, const Body& body) {
  constexpr int64_t kRows = 16;
  context.pool().ParallelFor(CeilDiv(rows, kRows), [&](int64_t tile) {
    for (int64_t row = tile * kRows; row < std::min(rows, (tile + 1) * kRows); ++row) body(row);
  });
}

// No value is NaN or infinite. On the calling thread.
bool AllFinite(absl::Span<const float> values);

// out = in * weight^T + bias, or added to `out`. `in` and `out` must not overlap.
enum class Into { kReplace, kAdd };
void ApplyLinear(const ExecutionContext& context, const Linear& linear, const MatrixView& in, MutableMatrixView out,
                 Into into = Into::kReplace);

// RMS: x / sqrt(mean x^2 + epsilon) * weight.  Layer: (x - mean) / sqrt(variance + epsilon) * weight + bias.
// `size` elements at a time: a row holds one group or more (per-head norms). In place is fine.
struct NormOptions {
  NormKind kind = NormKind::kRms;
  double epsilon = 1e-6;
};
void ApplyNorm(const ExecutionContext& context, const NormOptions& options, const Norm& norm, const MatrixView& in,
               MutableMatrixView out, int64_t size);

// values = activation(values), on the calling thread.
void Activate(const VectorKernels& kernels, Activation activation, absl::Span<float> values);

// gate = activation(gate) * up.
void ApplyGate(const ExecutionContext& context, Activation activation, MutableMatrixView gate, const MatrixView& up);
// values = activation(values).
void ApplyActivation(const ExecutionContext& context, Activation activation, MutableMatrixView values);

// into = from.
void CopyRows(const ExecutionContext& context, const MatrixView& from, MutableMatrixView into);
// into += from.
void AddRows(const ExecutionContext& context, const MatrixView& from, MutableMatrixView into);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_LAYER_OPS_H_
