// The loops behind every BinaryCodedKernels table. Each table's file includes this once and the compiler vectorizes for
// that file's instruction set. All names have internal linkage on purpose: a shared inline copy with wide instructions
// could be chosen by the linker for machines that lack them.
#ifndef QUANTD_CORE_QUANT_BINARY_CODED_KERNEL_LOOPS_H_
#define QUANTD_CORE_QUANT_BINARY_CODED_KERNEL_LOOPS_H_

#include <cstdint>
#include <cstring>
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

void CountHalfPoints(const double* __restrict values, int64_t count, double inverse_scale, double zero, int limit,
                     uint16_t* __restrict indices) {
  const double top = limit;
  for (int64_t k = 0; k < count; ++k) {
    double points = 2.0 * (values[k] * inverse_scale + zero) + 1.0;
    points = points > 0.0 ? points : 0.0;
    points = points < top ? points : top;
    indices[k] = static_cast<uint16_t>(static_cast<int32_t>(points));
  }
}

// One double of every scale; narrower registers take several. Left to itself the compiler gathers over pairs.
using Lanes = double __attribute__((vector_size(kScaleLanes * sizeof(double))));
using Indices = int64_t __attribute__((vector_size(kScaleLanes * sizeof(int64_t))));

inline void Load(const double* from, Lanes& lanes) {
  std::memcpy(&lanes, from, sizeof(lanes));
}

void PairCosts(const BorderedPair* pairs, int64_t count, const double* values, const double* weight_sums,
               const double* product_sums, double* costs) {
  for (int64_t p = 0; p < count; ++p) {
    Lanes u, v, a, b;
    Load(values + pairs[p].lower * kScaleLanes, u);
    Load(values + pairs[p].upper * kScaleLanes, v);
    Load(weight_sums + pairs[p].border * kScaleLanes, a);
    Load(product_sums + pairs[p].border * kScaleLanes, b);
    const Lanes cost = (v - u) * (2.0 * b - a * (u + v));
    std::memcpy(costs + p * kScaleLanes, &cost, sizeof(cost));
  }
}

void LeastCodebook(const uint16_t* pairs_of_books, const uint16_t* last_points, int64_t books, int pairs_per_book,
                   const double* costs, const double* last_costs, double* least, int64_t* which) {
  Lanes best = Lanes{} + std::numeric_limits<double>::infinity();
  Indices arg = {};
  for (int64_t book = 0; book < books; ++book) {
    Lanes sum;
    Load(last_costs + last_points[book] * kScaleLanes, sum);
    for (int p = 0; p < pairs_per_book; ++p) {
      Lanes cost;
      Load(costs + pairs_of_books[book * pairs_per_book + p] * kScaleLanes, cost);
      sum += cost;
    }
    const Indices better = sum < best;
    arg = better ? Indices{} + book : arg;
    best = better ? sum : best;
  }
  std::memcpy(least, &best, sizeof(best));
  std::memcpy(which, &arg, sizeof(arg));
}

constexpr BinaryCodedKernels TableFor(Isa isa) {
  return {isa, &PickLevel, &CountHalfPoints, &PairCosts, &LeastCodebook};
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODED_KERNEL_LOOPS_H_
