// Inner loops of the binary-coded grids. One table per instruction set; the scalar one is the definition, and because
// every operation is a single IEEE one the others give the same bits.
#ifndef QUANTD_CORE_QUANT_BINARY_CODED_KERNELS_H_
#define QUANTD_CORE_QUANT_BINARY_CODED_KERNELS_H_

#include <cstdint>

#include "core/compute/execution_context.h"

namespace quantd {

// Scales that the search tries at once.
inline constexpr int kScaleLanes = 8;

// For each of so many pairs of codebook points, lower < upper: values and sums over the weights below their border.
struct BorderedPair {
  int lower, upper;  // codebook points
  int border;        // index into the sums
};

struct BinaryCodedKernels {
  Isa isa;
  // Among `levels` rising values of each row, the one between whose borders a value lies: index = how many of the
  // row's levels - 1 borders are <= value. `level_values` [levels, stride] and `borders` [levels - 1, stride] are laid
  // out with the rows of one slab next to each other; `nearest` may be `values`.
  void (*pick_level)(const float* values, const float* level_values, const float* borders, int levels, int64_t stride,
                     float* nearest, uint16_t* indices);
  // indices[k] = how many of the half points 0, 1/2, 1, .. (limit of them) are at most values[k] / scale + zero, with
  // inverse_scale = 1 / scale.
  void (*count_half_points)(const double* values, int64_t count, double inverse_scale, double zero, int limit,
                            uint16_t* indices);
  // costs[p][lane] of pair p = 2 B (v - u) + A (u^2 - v^2): what it changes when weights below the border, with sums
  // A = sum h and B = sum h w, move from value v = values[upper] down to u = values[lower]. values [points, lanes],
  // sums [borders, lanes].
  void (*pair_costs)(const BorderedPair* pairs, int64_t count, const double* values, const double* weight_sums,
                     const double* product_sums, double* costs);
  // For each lane the first codebook with the least sum of pair costs, and of last_costs[last_points[book]]. `books`
  // codebooks of `pairs_per_book` pairs each.
  void (*least_codebook)(const uint16_t* pairs_of_books, const uint16_t* last_points, int64_t books, int pairs_per_book,
                         const double* costs, const double* last_costs, double* least, int64_t* which);
};

// The best table not above `at_most`.
const BinaryCodedKernels& BinaryCodedKernelsFor(Isa at_most);

const BinaryCodedKernels& ScalarBinaryCodedKernels();
const BinaryCodedKernels& Avx2BinaryCodedKernels();
const BinaryCodedKernels& Avx512BinaryCodedKernels();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODED_KERNELS_H_
