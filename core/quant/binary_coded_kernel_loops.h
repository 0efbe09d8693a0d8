// The loops behind every BinaryCodedKernels table. Each table's file includes this once and the compiler vectorizes for
// that file's instruction set. All names have internal linkage on purpose: a shared inline copy with wide instructions
// could be chosen by the linker for machines that lack them.
#ifndef QUANTD_CORE_QUANT_BINARY_CODED_KERNEL_LOOPS_H_
#define QUANTD_CORE_QUANT_BINARY_CODED_KERNEL_LOOPS_H_

#include <cstdint>
#include <limits>

#include "core/quant/binary_coded_kernels.h"

namespace quantd {
namespace {

constexpr int kLanes = 128;  // kSlabRows, without the header's inline functions

void PickLevel(const float* values, const float* __restrict level_values, const float* __restrict borders, int levels,
               int64_t stride, float* nearest, uint16_t* __restrict indices) {
  float picked[kLanes];
  int32_t index[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    picked[i] = level_values[i];
    index[i] = 0;
  }
  for (int k = 0; k + 1 < levels; ++k) {
    const float* __restrict border = borders + k * stride;
    const float* __restrict next = level_values + (k + 1) * stride;
    for (int i = 0; i < kLanes; ++i) {
      picked[i] = values[i] >= border[i] ? next[i] : picked[i];
      index[i] += values[i] >= border[i] ? 1 : 0;
    }
  }
  for (int i = 0; i < kLanes; ++i) nearest[i] = picked[i];
  for (int i = 0; i < kLanes; ++i) indices[i] = static_cast<uint16_t>(index[i]);
}

void PairCosts(const BorderedPair* __restrict pairs, int64_t count, const double* __restrict values,
               const double* __restrict weight_sums, const double* __restrict product_sums, double* __restrict costs) {
  for (int64_t p = 0; p < count; ++p) {
    const double* __restrict u = values + pairs[p].lower * kScaleLanes;
    const double* __restrict v = values + pairs[p].upper * kScaleLanes;
    const double* __restrict a = weight_sums + pairs[p].border * kScaleLanes;
    const double* __restrict b = product_sums + pairs[p].border * kScaleLanes;
    double* __restrict cost = costs + p * kScaleLanes;
    for (int i = 0; i < kScaleLanes; ++i) cost[i] = (v[i] - u[i]) * (2.0 * b[i] - a[i] * (u[i] + v[i]));
  }
}

void LeastCodebook(const uint16_t* __restrict pairs_of_books, const uint16_t* __restrict last_points, int64_t books,
                   int pairs_per_book, const double* __restrict costs, const double* __restrict last_costs,
                   double* __restrict least, int64_t* __restrict which) {
  double best[kScaleLanes];
  int64_t arg[kScaleLanes];
  for (int i = 0; i < kScaleLanes; ++i) {
    best[i] = std::numeric_limits<double>::infinity();
    arg[i] = 0;
  }
  for (int64_t book = 0; book < books; ++book) {
    double sum[kScaleLanes];
    const double* __restrict last = last_costs + last_points[book] * kScaleLanes;
    for (int i = 0; i < kScaleLanes; ++i) sum[i] = last[i];
    for (int p = 0; p < pairs_per_book; ++p) {
      const double* __restrict cost = costs + pairs_of_books[book * pairs_per_book + p] * kScaleLanes;
      for (int i = 0; i < kScaleLanes; ++i) sum[i] += cost[i];
    }
    for (int i = 0; i < kScaleLanes; ++i) {
      arg[i] = sum[i] < best[i] ? book : arg[i];
      best[i] = sum[i] < best[i] ? sum[i] : best[i];
    }
  }
  for (int i = 0; i < kScaleLanes; ++i) {
    least[i] = best[i];
    which[i] = arg[i];
  }
}

constexpr BinaryCodedKernels TableFor(Isa isa) {
  return {isa, &PickLevel, &PairCosts, &LeastCodebook};
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODED_KERNEL_LOOPS_H_
