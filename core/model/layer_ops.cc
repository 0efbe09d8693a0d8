#include "core/model/layer_ops.h"

#include <cfloat>
#include <cmath>

#include "core/compute/matmul.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

void Relu(float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = values[i] > 0 ? values[i] : 0;
}

// No vector form: an approximation of erf to f32 would cost about as much as the library's.
void GeluErf(float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = 0.5f * values[i] * (1.0f + std::erf(values[i] * 0.70710678f));
}

}  // namespace

void Activate(const VectorKernels& kernels, Activation activation, absl::Span<float> values) {
  const int64_t count = static_cast<int64_t>(values.size());
  switch (activation) {
    case Activation::kSilu:
      return kernels.silu(values.data(), count);
    case Activation::kRelu:
      return Relu(values.data(), count);
    case Activation::kGeluTanh:
      return kernels.gelu_tanh(values.data(), count);
    case Activation::kGeluErf:
      return GeluErf(values.data(), count);
  }
}

bool AllFinite(absl::Span<const float> values) {
  bool finite = true;
  for (const float value : values) finite &= std::abs(value) <= FLT_MAX;
  return finite;
}

void ApplyLinear(const ExecutionContext& context, const Linear& linear, const MatrixView& in, MutableMatrixView out,
                 Into into) {
  if (linear.to_run != nullptr) {
    linear.to_run->Multiply(context, in, out, into == Into::kAdd);
  } else {
    MatMulTransposed(context, in, linear.weight.view(), out, into == Into::kAdd);
  }
  if (linear.bias.empty()) return;
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  ForRows(context, out.rows, [&](int64_t t) { kernels.add(linear.bias.data(), out.row(t), out.cols); });
}

void ApplyNorm(const ExecutionContext& context, const NormOptions& options, const Norm& norm, const MatrixView& in,
               MutableMatrixView out, int64_t size) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const std::vector<float> ones(norm.weight.empty() ? size : 0, 1.0f);
  const std::vector<float> zeros(norm.bias.empty() ? size : 0, 0.0f);
  const float* weight = norm.weight.empty() ? ones.data() : norm.weight.data();
  const float* bias = norm.bias.empty() ? zeros.data() : norm.bias.data();
  ForRows(context, in.rows, [&](int64_t t) {
    for (int64_t begin = 0; begin < in.cols; begin += size) {
      const float* from = in.row(t) + begin;
      float* to = out.row(t) + begin;
      if (options.kind == NormKind::kRms) {
        kernels.rms_norm(from, weight, options.epsilon, to, size);
      } else {
        kernels.layer_norm(from, weight, bias, options.epsilon, to, size);
      }
    }
  });
}

void ApplyGate(const ExecutionContext& context, Activation activation, MutableMatrixView gate, const MatrixView& up) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  ForRows(context, gate.rows, [&](int64_t t) {
    Activate(kernels, activation, gate.row_span(t));
    kernels.multiply(up.row(t), gate.row(t), gate.cols);
  });
}

void ApplyActivation(const ExecutionContext& context, Activation activation, MutableMatrixView values) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  ForRows(context, values.rows, [&](int64_t t) { Activate(kernels, activation, values.row_span(t)); });
}

void CopyRows(const ExecutionContext& context, const MatrixView& from, MutableMatrixView into) {
  ForRows(context, into.rows, [&](int64_t t) { std::copy_n(from.row(t), from.cols, into.row(t)); });
}

void AddRows(const ExecutionContext& context, const MatrixView& from, MutableMatrixView into) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  ForRows(context, into.rows, [&](int64_t t) { kernels.add(from.row(t), into.row(t), into.cols); });
}

}  // namespace quantd
