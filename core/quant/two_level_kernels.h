// Inner loops of the two-level grid, over one slab: kSlabRows rows at once. `columns` are `count` columns of the slab,
// kSlabRows values each, one after another.
//
// One table per instruction set; the scalar one is the definition, and because every operation is a single IEEE one (no
// fused multiply-add) the others give the same bits.
#ifndef QUANTD_CORE_QUANT_TWO_LEVEL_KERNELS_H_
#define QUANTD_CORE_QUANT_TWO_LEVEL_KERNELS_H_

#include <cstdint>

#include "core/compute/execution_context.h"

namespace quantd {

// The two least and the two greatest weights of each row, and where the first of each stands. A group of one column has
// no second ones: infinite.
struct GroupExtremes {
  float* least;
  float* second_least;
  float* greatest;
  float* second_greatest;
  int32_t* least_column;
  int32_t* greatest_column;
};

// How a range becomes a grid.
struct RangeRule {
  float max_code;
  bool symmetric;
  bool authors_range;
  bool authors_equal_values;
};

struct GroupGrid {
  const float* scales;
  const float* zeros;
  float max_code;
};

// What leaving out one weight of a row would save.
struct LeaveOneOut {
  const float* all;               // error with every weight
  const float* without_least;     // of the others, fitted without it
  const float* without_greatest;  // likewise
  const int32_t* least_column;
  const int32_t* greatest_column;
};

struct TwoLevelKernels {
  Isa isa;
  void (*find_extremes)(const float* columns, int64_t count, const GroupExtremes& extremes);
  // Makes [lo, hi] what the levels must span: symmetric when so asked, and with 0 in it when the weights are equal, or
  // so nearly equal that the zero point would lie beyond +-2^15.
  void (*adjust_ranges)(const RangeRule& rule, float* lo, float* hi);
  // scale = (hi - lo) / max_code, 0 below 2^-100.
  void (*scales_of_ranges)(const RangeRule& rule, const float* lo, const float* hi, float* scales);
  // zero = -lo / scale, 0 where the scale is 0; the middle code when symmetric.
  void (*zeros_of_ranges)(const RangeRule& rule, const float* lo, const float* scales, float* zeros);
  // errors = sum over the columns but `skipped` of cost * (value - nearest)^2.
  void (*add_up_errors)(const float* columns, const float* costs, int64_t count, const GroupGrid& grid,
                        const int32_t* skipped, float* errors);
  // [lo, hi] = range of the weights whose leaving out saves at most `threshold`; infinite, lo > hi, where there
  // are none.
  void (*range_without_outliers)(const float* columns, const float* costs, int64_t count, const GroupGrid& grid,
                                 const LeaveOneOut& errors, float threshold, float* lo, float* hi);
  // code = clamp(round(value / scale + zero), 0, max_code), nearest = scale * (code - zero); round half to even. A
  // scale of 0 stands for the value 0. `nearest` may be `values`.
  void (*round_to_grid)(const float* values, const GroupGrid& grid, float* nearest, uint16_t* codes);
  // flags = cost * (value - nearest)^2 > threshold. True when one is set.
  bool (*find_outliers)(const float* values, const float* nearest, float cost, float threshold, uint8_t* flags);
};

// The best table not above `at_most`.
const TwoLevelKernels& TwoLevelKernelsFor(Isa at_most);

const TwoLevelKernels& ScalarTwoLevelKernels();
const TwoLevelKernels& Avx2TwoLevelKernels();
const TwoLevelKernels& Avx512TwoLevelKernels();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_TWO_LEVEL_KERNELS_H_
