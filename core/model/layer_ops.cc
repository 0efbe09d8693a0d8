#include "core/model/layer_ops.h"

#include <cmath>

#include "core/compute/matmul.h"
#include "core/compute/vector_math.h"

namespace quantd {
namespace {

// Sums are double: cheap beside the products, and they keep norms at the accuracy of one rounding.
void NormGroup(const NormOptions& options, const Norm& norm, const float* in, float* out, int64_t size) {
  double mean = 0, squares = 0;
  if (options.kind == NormKind::kLayer) {
    for (int64_t i = 0; i < size; ++i) mean += in[i];
    mean /= static_cast<double>(size);
  }
  for (int64_t i = 0; i < size; ++i) squares += (in[i] - mean) * (in[i] - mean);
  const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(size) + options.epsilon);
  const float shift = static_cast<float>(mean), scale = static_cast<float>(inverse);
  for (int64_t i = 0; i < size; ++i) {
    const float weight = norm.weight.empty() ? 1.0f : norm.weight[i];
    const float bias = norm.bias.empty() ? 0.0f : norm.bias[i];
    out[i] = (in[i] - shift) * scale * weight + bias;
  }
}

float GeluTanh(float x) {
  return 0.5f * x * (1.0f + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
}
float GeluErf(float x) {
  return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
}
float Relu(float x) {
  return x > 0 ? x : 0;
}
float Silu(float x) {
  return x / (1.0f + std::exp(-x));
}

using Function = float (*)(float);
constexpr Function kFunctions[] = {Silu, Relu, GeluTanh, GeluErf};  // in the order of Activation

}  // namespace

void ApplyLinear(const ExecutionContext& context, const Linear& linear, const MatrixView& in, MutableMatrixView out) {
  MatMulTransposed(context, in, linear.weight.view(), out);
  if (linear.bias.empty()) return;
  context.pool().ParallelFor(out.rows, [&](int64_t t) {
    float* row = out.row(t);
    for (int64_t i = 0; i < out.cols; ++i) row[i] += linear.bias[i];
  });
}

void ApplyNorm(const ExecutionContext& context, const NormOptions& options, const Norm& norm, const MatrixView& in,
               MutableMatrixView out, int64_t size) {
  context.pool().ParallelFor(in.rows, [&](int64_t t) {
    for (int64_t begin = 0; begin < in.cols; begin += size) {
      NormGroup(options, norm, in.row(t) + begin, out.row(t) + begin, size);
    }
  });
}

void ApplyGate(const ExecutionContext& context, Activation activation, MutableMatrixView gate, const MatrixView& up) {
  context.pool().ParallelFor(gate.rows, [&](int64_t t) {
    if (activation == Activation::kSilu) return SiluTimes(gate.row_span(t), up.row_span(t));
    const Function function = kFunctions[static_cast<int>(activation)];
    for (int64_t i = 0; i < gate.cols; ++i) gate.at(t, i) = function(gate.at(t, i)) * up.at(t, i);
  });
}

void ApplyActivation(const ExecutionContext& context, Activation activation, MutableMatrixView values) {
  const Function function = kFunctions[static_cast<int>(activation)];
  context.pool().ParallelFor(values.rows, [&](int64_t t) {
    for (float& value : values.row_span(t)) value = function(value);
  });
}

void AddRows(const ExecutionContext& context, const MatrixView& from, MutableMatrixView into) {
  context.pool().ParallelFor(into.rows, [&](int64_t t) {
    for (int64_t i = 0; i < into.cols; ++i) into.at(t, i) += from.at(t, i);
  });
}

}  // namespace quantd
