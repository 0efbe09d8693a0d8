// Inner loops of the residual binary grid, over one slab: kSlabRows rows at once. A set of columns is a list of
// pointers to kSlabRows values each.
//
// One table per instruction set; the scalar one is the definition, and because every operation is a single IEEE one (no
// fused multiply-add) the others give the same bits.
#ifndef QUANTD_CORE_QUANT_RESIDUAL_BINARY_KERNELS_H_
#define QUANTD_CORE_QUANT_RESIDUAL_BINARY_KERNELS_H_

#include <cstdint>

#include "core/compute/execution_context.h"

namespace quantd {

struct ColumnSet {
  const float* const* columns;
  int64_t count;
};

// What two planes make of a row's salient weights.
struct SalientLevels {
  const float* mean;          // as stored: of both planes
  const float* scale;         // as stored
  const float* second_scale;  // as stored
  const float* first_mean;    // where the first sign changes
  const float* second_mean;   // where that of the residual changes
};

struct PlainLevels {
  const float* mean;
  const float* scale;
};

// Sums of one row that decide on a split, the same for every split.
struct RowTotals {
  const double* sums;
  const double* squares;
};

struct ResidualBinaryKernels {
  Isa isa;
  // saliency = cost * value^2, at most the largest finite number.
  void (*weigh)(const float* values, float cost, float* saliency);
  // errors = sum of squares of what one plane, or two, leave of the set; with means or with 0 in their place. In f32;
  // exact: in f64.
  void (*one_plane_errors)(const ColumnSet& set, bool means, double* errors);
  void (*one_plane_errors_exact)(const ColumnSet& set, bool means, double* errors);
  void (*two_plane_errors)(const ColumnSet& set, bool means, double* errors);
  void (*two_plane_errors_exact)(const ColumnSet& set, bool means, double* errors);
  // Likewise with one plane for |value| < split and one for the others.
  void (*split_errors)(const ColumnSet& set, bool means, const RowTotals& totals, float split, double* errors);
  void (*split_errors_exact)(const ColumnSet& set, bool means, const RowTotals& totals, float split, double* errors);
  // mean and mean distance from it of the set's values at which `domain`, a set of the same columns, is below `split`
  // in magnitude (or, not `below`, is not); 0 without such values. In f64. The first with `means` only, else 0.
  void (*mean_of_part)(const ColumnSet& set, const ColumnSet& domain, float split, bool below, double* means);
  void (*distance_of_part)(const ColumnSet& set, const ColumnSet& domain, float split, bool below, const float* means,
                           double* distances);
  // codes: bit 0 the sign, bit 1 whether |domain| is at least `split`.
  void (*code_plain)(const float* values, const float* domain, float split, const PlainLevels& low,
                     const PlainLevels& high, float* nearest, uint16_t* codes);
  // codes: bit 0 the first sign, bit 1 the second.
  void (*code_salient)(const float* values, const SalientLevels& levels, float* nearest, uint16_t* codes);
};

// The best table not above `at_most`.
const ResidualBinaryKernels& ResidualBinaryKernelsFor(Isa at_most);

const ResidualBinaryKernels& ScalarResidualBinaryKernels();
const ResidualBinaryKernels& Avx2ResidualBinaryKernels();
const ResidualBinaryKernels& Avx512ResidualBinaryKernels();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RESIDUAL_BINARY_KERNELS_H_
