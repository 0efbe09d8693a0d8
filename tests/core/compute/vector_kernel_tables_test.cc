// Every instruction set's vector kernels give the bits of the scalar ones, and write nothing beyond their rows.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/compute/vector_kernels.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

using Floats = std::vector<float>;

constexpr int64_t kRows = 3;
constexpr float kGuard = 12345;

// One row with a guard behind it.
Floats Row(int64_t count, uint64_t seed, float magnitude = 1) {
  const Matrix matrix = RandomMatrix(1, count, seed, magnitude);
  Floats values(matrix.data(), matrix.data() + count);
  values.push_back(kGuard);
  return values;
}

// The results of every kernel, guards included.
std::vector<Floats> AllResults(const VectorKernels& table, int64_t count) {
  const Floats a = Row(count, 1), b = Row(count, 2), c = Row(count, 3);
  const Matrix matrix = RandomMatrix(kRows, count + 2, 4);
  Floats softmax = Row(count, 5, 60), silu = Row(count, 6, 95), gelu = Row(count, 7, 12), rms = a, layer = a, low = a,
         high = b, sum = a, product = a, dots = Row(kRows, 8), combined = a;
  table.softmax(softmax.data(), count);
  table.silu(silu.data(), count);
  table.gelu_tanh(gelu.data(), count);
  table.rms_norm(a.data(), b.data(), 1e-5, rms.data(), count);
  table.layer_norm(a.data(), b.data(), c.data(), 1e-5, layer.data(), count);
  table.rotate(low.data(), high.data(), b.data(), c.data(), count);
  table.add(b.data(), sum.data(), count);
  table.multiply(b.data(), product.data(), count);
  table.dot_rows(matrix.data(), count + 2, a.data(), dots.data(), kRows, count);
  table.combine_rows(matrix.data(), count + 2, Row(kRows, 9).data(), combined.data(), kRows, count);
  return {softmax, silu, gelu, rms, layer, low, high, sum, product, dots, combined};
}

// The same of the backward pass.
std::vector<Floats> AllGradients(const VectorKernels& table, int64_t count) {
  const Floats in = Row(count, 1), weight = Row(count, 2);
  Floats softmax = Row(count, 10), silu = softmax, gelu = softmax, rms = softmax, layer = softmax, centered = in;
  table.softmax_gradient(in.data(), softmax.data(), count);
  table.silu_gradient(Row(count, 6, 95).data(), silu.data(), count);
  table.gelu_tanh_gradient(Row(count, 7, 20).data(), gelu.data(), count);
  table.rms_norm_gradient(in.data(), weight.data(), 1e-5, rms.data(), count);
  table.layer_norm_gradient(centered.data(), weight.data(), 1e-5, layer.data(), count);
  return {softmax, silu, gelu, rms, layer, centered};
}

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void CheckEverySize(std::vector<Floats> (*results)(const VectorKernels&, int64_t)) {
  for (int64_t count = 1; count <= 130; ++count) {
    const std::vector<Floats> scalar = results(ScalarVectorKernels(), count);
    for (const Floats& result : scalar) ASSERT_EQ(result.back(), kGuard) << count;
    for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
      if (isa > DetectIsa()) continue;
      const std::vector<Floats> wide = results(VectorKernelsFor(isa), count);
      for (size_t kernel = 0; kernel < scalar.size(); ++kernel) {
        ASSERT_TRUE(SameBits(wide[kernel], scalar[kernel]))
            << IsaName(isa) << " kernel " << kernel << " size " << count;
      }
    }
  }
}

TEST(VectorKernelTables, GiveTheScalarBitsAtEverySize) {
  CheckEverySize(&AllResults);
}

TEST(VectorKernelTables, GiveTheScalarBitsOfGradients) {
  CheckEverySize(&AllGradients);
}

TEST(VectorKernelTables, AreWhatTheyAreAskedFor) {
  EXPECT_EQ(ScalarVectorKernels().isa, Isa::kScalar);
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > DetectIsa()) continue;
    EXPECT_EQ(VectorKernelsFor(isa).isa, isa);
  }
}

}  // namespace
}  // namespace quantd
