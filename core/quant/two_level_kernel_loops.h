// The loops behind every TwoLevelKernels table. Each table's file includes this once and the compiler vectorizes for
// that file's instruction set. All names have internal linkage on purpose: a shared inline copy with wide instructions
// could be chosen by the linker for machines that lack them.
#ifndef QUANTD_CORE_QUANT_TWO_LEVEL_KERNEL_LOOPS_H_
#define QUANTD_CORE_QUANT_TWO_LEVEL_KERNEL_LOOPS_H_

#include <cstdint>

#include "core/quant/two_level_kernels.h"

namespace quantd {
namespace {

constexpr int kLanes = 128;  // kSlabRows, without the header's inline functions
constexpr float kInfinity = __builtin_inff();
constexpr float kSmallestScale = 0x1p-100f;
constexpr float kFarthestZero = 0x1p15f;

inline float Least(float a, float b) {
  return a < b ? a : b;
}
inline float Greatest(float a, float b) {
  return a > b ? a : b;
}
inline float Magnitude(float a) {
  return a < 0 ? -a : a;
}

// NaN gives lo, so that no code is ever out of range.
inline float Clamp(float value, float lo, float hi) {
  value = value > lo ? value : lo;
  return value > hi ? hi : value;
}

// Half to even: adding 1.5 * 2^23 leaves no fraction bits. Right for |value| < 2^22.
inline float RoundHalfToEven(float value) {
  constexpr float kShift = 12582912.0f;
  return (value + kShift) - kShift;
}

inline float CodeOf(float value, float scale, float zero, float max_code) {
  const float steps = scale > 0 ? value / scale : 0.0f;
  return RoundHalfToEven(Clamp(steps + zero, 0.0f, max_code));
}

inline float NearestOf(float value, float scale, float zero, float max_code) {
  return scale * (CodeOf(value, scale, zero, max_code) - zero);
}

inline float ErrorOf(float value, float scale, float zero, float max_code, float cost) {
  const float difference = NearestOf(value, scale, zero, max_code) - value;
  return cost * (difference * difference);
}

// Loops over one column are functions of their own: merged with the loop over columns they would be unrolled into
// scalar code.
#define QUANTD_ONE_COLUMN __attribute__((noinline))

// The least two and the greatest two so far.
QUANTD_ONE_COLUMN void LookAtColumn(const float* __restrict values, int32_t column, const GroupExtremes& extremes) {
  float* __restrict least = extremes.least;
  float* __restrict second_least = extremes.second_least;
  float* __restrict greatest = extremes.greatest;
  float* __restrict second_greatest = extremes.second_greatest;
  int32_t* __restrict least_column = extremes.least_column;
  int32_t* __restrict greatest_column = extremes.greatest_column;
  for (int i = 0; i < kLanes; ++i) {
    // The second one is the middle of value, first and second; loads come before choices,
    // so that all vectorizes.
    const float value = values[i], first_least = least[i], first_greatest = greatest[i];
    const int32_t old_least_column = least_column[i], old_greatest_column = greatest_column[i];
    second_least[i] = Greatest(first_least, Least(value, second_least[i]));
    least_column[i] = value < first_least ? column : old_least_column;
    least[i] = Least(value, first_least);
    second_greatest[i] = Least(first_greatest, Greatest(value, second_greatest[i]));
    greatest_column[i] = value > first_greatest ? column : old_greatest_column;
    greatest[i] = Greatest(value, first_greatest);
  }
}

void FindExtremes(const float* columns, int64_t count, const GroupExtremes& extremes) {
  for (int i = 0; i < kLanes; ++i) {
    extremes.least[i] = extremes.second_least[i] = kInfinity;
    extremes.greatest[i] = extremes.second_greatest[i] = -kInfinity;
    extremes.least_column[i] = extremes.greatest_column[i] = 0;
  }
  for (int64_t c = 0; c < count; ++c) LookAtColumn(columns + c * kLanes, static_cast<int32_t>(c), extremes);
}

void MakeSymmetric(bool authors_range, float* __restrict lo, float* __restrict hi) {
  for (int i = 0; i < kLanes; ++i) {
    const float reach = Greatest(Magnitude(lo[i]), hi[i]);
    lo[i] = lo[i] < 0 || !authors_range ? -reach : lo[i];
    hi[i] = reach;
  }
}

void AdjustRanges(const RangeRule& rule, float* __restrict lo, float* __restrict hi) {
  if (rule.symmetric) MakeSymmetric(rule.authors_range, lo, hi);
  if (rule.authors_equal_values) {
    for (int i = 0; i < kLanes; ++i) {
      const bool equal = lo[i] == hi[i];
      lo[i] = equal ? -1.0f : lo[i];
      hi[i] = equal ? 1.0f : hi[i];
    }
    return;
  }
  for (int i = 0; i < kLanes; ++i) {
    const bool nearly_equal = Magnitude(lo[i]) / kFarthestZero * rule.max_code > hi[i] - lo[i];
    lo[i] = nearly_equal ? Least(lo[i], 0.0f) : lo[i];
    hi[i] = nearly_equal ? Greatest(hi[i], 0.0f) : hi[i];
  }
}

void ScalesOfRanges(const RangeRule& rule, const float* __restrict lo, const float* __restrict hi,
                    float* __restrict scales) {
  for (int i = 0; i < kLanes; ++i) {
    const float scale = (hi[i] - lo[i]) / rule.max_code;
    scales[i] = scale < kSmallestScale ? 0.0f : scale;
  }
}

void ZerosOfRanges(const RangeRule& rule, const float* __restrict lo, const float* __restrict scales,
                   float* __restrict zeros) {
  const float middle = (rule.max_code + 1) / 2;
  // + 0: no negative zero.
  for (int i = 0; i < kLanes; ++i) zeros[i] = scales[i] > 0 ? -lo[i] / scales[i] + 0.0f : 0.0f;
  for (int i = 0; i < kLanes; ++i) zeros[i] = rule.symmetric ? middle : zeros[i];
}

struct CostlyColumn {
  const float* values;
  float cost;
  int32_t index;
};

QUANTD_ONE_COLUMN void AddErrorsOfColumn(const CostlyColumn& column, const GroupGrid& grid,
                                         const int32_t* __restrict skipped, float* __restrict errors) {
  const float* __restrict values = column.values;
  const float* __restrict scales = grid.scales;
  const float* __restrict zeros = grid.zeros;
  const float max_code = grid.max_code, cost = column.cost;
  const int32_t index = column.index;
  for (int i = 0; i < kLanes; ++i) {
    const float error = ErrorOf(values[i], scales[i], zeros[i], max_code, cost);
    errors[i] += skipped[i] == index ? 0.0f : error;
  }
}

void AddUpErrors(const float* columns, const float* costs, int64_t count, const GroupGrid& grid, const int32_t* skipped,
                 float* errors) {
  for (int i = 0; i < kLanes; ++i) errors[i] = 0;
  for (int64_t c = 0; c < count; ++c) {
    AddErrorsOfColumn({columns + c * kLanes, costs[c], static_cast<int32_t>(c)}, grid, skipped, errors);
  }
}

QUANTD_ONE_COLUMN void WidenByColumn(const CostlyColumn& column, const GroupGrid& grid, const LeaveOneOut& errors,
                                     float threshold, float* __restrict lo, float* __restrict hi) {
  const float* __restrict values = column.values;
  const float* __restrict scales = grid.scales;
  const float* __restrict zeros = grid.zeros;
  const float* __restrict all = errors.all;
  const float* __restrict without_least = errors.without_least;
  const float* __restrict without_greatest = errors.without_greatest;
  const int32_t* __restrict least_column = errors.least_column;
  const int32_t* __restrict greatest_column = errors.greatest_column;
  const float max_code = grid.max_code, cost = column.cost;
  const int32_t index = column.index;
  for (int i = 0; i < kLanes; ++i) {
    // Without one of the others the grid stays as it is: its own error is what is saved.
    const float own = ErrorOf(values[i], scales[i], zeros[i], max_code, cost);
    const float of_least = all[i] - without_least[i], of_greatest = all[i] - without_greatest[i];
    float saved = greatest_column[i] == index ? of_greatest : own;
    saved = least_column[i] == index ? of_least : saved;
    lo[i] = Least(saved > threshold ? kInfinity : values[i], lo[i]);
    hi[i] = Greatest(saved > threshold ? -kInfinity : values[i], hi[i]);
  }
}

void RangeWithoutOutliers(const float* columns, const float* costs, int64_t count, const GroupGrid& grid,
                          const LeaveOneOut& errors, float threshold, float* lo, float* hi) {
  for (int i = 0; i < kLanes; ++i) lo[i] = kInfinity;
  for (int i = 0; i < kLanes; ++i) hi[i] = -kInfinity;
  for (int64_t c = 0; c < count; ++c) {
    WidenByColumn({columns + c * kLanes, costs[c], static_cast<int32_t>(c)}, grid, errors, threshold, lo, hi);
  }
}

void RoundToGrid(const float* values, const GroupGrid& grid, float* nearest, uint16_t* __restrict codes) {
  const float* __restrict scales = grid.scales;
  const float* __restrict zeros = grid.zeros;
  float rounded[kLanes];
  for (int i = 0; i < kLanes; ++i) rounded[i] = CodeOf(values[i], scales[i], zeros[i], grid.max_code);
  for (int i = 0; i < kLanes; ++i) nearest[i] = scales[i] * (rounded[i] - zeros[i]);
  for (int i = 0; i < kLanes; ++i) codes[i] = static_cast<uint16_t>(static_cast<int32_t>(rounded[i]));
}

bool FindOutliers(const float* __restrict values, const float* __restrict nearest, float cost, float threshold,
                  uint8_t* __restrict flags) {
  uint8_t any = 0;
  for (int i = 0; i < kLanes; ++i) {
    const float difference = values[i] - nearest[i];
    flags[i] = cost * (difference * difference) > threshold ? 1 : 0;
  }
  for (int i = 0; i < kLanes; ++i) any = static_cast<uint8_t>(any | flags[i]);
  return any != 0;
}

constexpr TwoLevelKernels TableFor(Isa isa) {
  return {isa,          &FindExtremes,         &AdjustRanges, &ScalesOfRanges, &ZerosOfRanges,
          &AddUpErrors, &RangeWithoutOutliers, &RoundToGrid,  &FindOutliers};
}

#undef QUANTD_ONE_COLUMN

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_TWO_LEVEL_KERNEL_LOOPS_H_
