#include "core/model/layer_backward.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/compute/matmul.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

void ReluGradient(const float* in, float* gradient, int64_t count) {
  for (int64_t i = 0; i < count; ++i) gradient[i] = in[i] > 0 ? gradient[i] : 0;
}

// With F the normal distribution function and f its density: (x F(x))' = F(x) + x f(x).
void GeluErfGradient(const float* in, float* gradient, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float density = 0.39894228f * std::exp(-0.5f * in[i] * in[i]);
    gradient[i] *= 0.5f * (1.0f + std::erf(in[i] * 0.70710678f)) + in[i] * density;
  }
}

void ActivationGradient(const VectorKernels& kernels, Activation activation, const float* in,
                        absl::Span<float> gradient) {
  const int64_t count = static_cast<int64_t>(gradient.size());
  switch (activation) {
    case Activation::kSilu:
      return kernels.silu_gradient(in, gradient.data(), count);
    case Activation::kRelu:
      return ReluGradient(in, gradient.data(), count);
    case Activation::kGeluTanh:
      return kernels.gelu_tanh_gradient(in, gradient.data(), count);
    case Activation::kGeluErf:
      return GeluErfGradient(in, gradient.data(), count);
  }
}

}  // namespace

void LinearBackward(const ExecutionContext& context, const Linear& linear, const MatrixView& delta,
                    MutableMatrixView in_gradient, Into into) {
  MatMul(context, delta, linear.weight.view(), in_gradient, into == Into::kAdd);
}

void NormBackward(const ExecutionContext& context, const NormOptions& options, const Norm& norm, const MatrixView& in,
                  MutableMatrixView gradient, int64_t size) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const std::vector<float> ones(norm.weight.empty() ? size : 0, 1.0f);
  const float* weight = norm.weight.empty() ? ones.data() : norm.weight.data();
  ForRows(context, in.rows, [&](int64_t t) {
    static thread_local std::vector<float> centered;
    for (int64_t begin = 0; begin < in.cols; begin += size) {
      const float* from = in.row(t) + begin;
      float* to = gradient.row(t) + begin;
      if (options.kind == NormKind::kRms) {
        kernels.rms_norm_gradient(from, weight, options.epsilon, to, size);
      } else {
        centered.assign(from, from + size);
        kernels.layer_norm_gradient(centered.data(), weight, options.epsilon, to, size);
      }
    }
  });
}

void ActivationBackward(const ExecutionContext& context, Activation activation, const MatrixView& in,
                        MutableMatrixView gradient) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  ForRows(context, in.rows,
          [&](int64_t t) { ActivationGradient(kernels, activation, in.row(t), gradient.row_span(t)); });
}

void GateBackward(const ExecutionContext& context, Activation activation, const MatrixView& out_gradient,
                  MutableMatrixView in, MutableMatrixView gate, MutableMatrixView up) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  ForRows(context, in.rows, [&](int64_t t) {
    std::copy_n(out_gradient.row(t), gate.cols, gate.row(t));
    kernels.multiply(up.row(t), gate.row(t), gate.cols);
    ActivationGradient(kernels, activation, in.row(t), gate.row_span(t));
    Activate(kernels, activation, in.row_span(t));
    std::copy_n(in.row(t), up.cols, up.row(t));
    kernels.multiply(out_gradient.row(t), up.row(t), up.cols);
  });
}

void RotaryBackward(const ExecutionContext& context, const RotaryTable& table, int64_t head_size,
                    MutableMatrixView gradient) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const int64_t half = table.cosine.cols();
  ForRows(context, gradient.rows, [&](int64_t t) {
    for (int64_t begin = 0; begin < gradient.cols; begin += head_size) {
      float* head = gradient.row(t) + begin;
      // The pair the other way round turns the other way.
      kernels.rotate(head + half, head, table.cosine.row(t), table.sine.row(t), half);
    }
  });
}

}  // namespace quantd
