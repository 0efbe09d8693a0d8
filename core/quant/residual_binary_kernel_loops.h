// The loops behind every ResidualBinaryKernels table. Each table's file includes this once and the compiler vectorizes
// for that file's instruction set. All names have internal linkage on purpose: a shared inline copy with wide
// instructions could be chosen by the linker for machines that lack them.
#ifndef QUANTD_CORE_QUANT_RESIDUAL_BINARY_KERNEL_LOOPS_H_
#define QUANTD_CORE_QUANT_RESIDUAL_BINARY_KERNEL_LOOPS_H_

#include <cstdint>

#include "core/quant/residual_binary_kernels.h"

namespace quantd {
namespace {

constexpr int kLanes = 128;  // kSlabRows, without the header's inline functions

inline float Magnitude(float a) {
  return __builtin_fabsf(a);
}
inline double Magnitude(double a) {
  return __builtin_fabs(a);
}

// Both arms are loaded before the choice: compilers vectorize that, and not a load that depends on it.
template <typename Real>
inline Real Choose(bool first, Real a, Real b) {
  return first ? a : b;
}

// What f32 cannot hold, and 0 times that, counts as its largest value: saliencies are compared and sorted.
void Weigh(const float* __restrict values, float cost, float* __restrict saliency) {
  constexpr float kLargest = 3.402823466e38f;
  for (int i = 0; i < kLanes; ++i) {
    const float weighed = cost * (values[i] * values[i]);
    saliency[i] = weighed < kLargest ? weighed : kLargest;
  }
}

// Loops over one column are functions of their own: merged with the loop over columns they would be unrolled into
// scalar code.
#define QUANTD_ONE_COLUMN __attribute__((noinline))

template <typename Real>
QUANTD_ONE_COLUMN void AddColumn(const float* __restrict values, Real* __restrict sums) {
  for (int i = 0; i < kLanes; ++i) sums[i] += static_cast<Real>(values[i]);
}

template <typename Real>
void MeansOf(const ColumnSet& set, bool means, Real* __restrict mean) {
  for (int i = 0; i < kLanes; ++i) mean[i] = 0;
  for (int64_t c = 0; means && c < set.count; ++c) AddColumn(set.columns[c], mean);
  const Real count = static_cast<Real>(set.count);
  for (int i = 0; means && i < kLanes; ++i) mean[i] /= count;
}

template <typename Real>
QUANTD_ONE_COLUMN void MeasureColumn(const float* __restrict values, const Real* __restrict mean,
                                     Real* __restrict reach, Real* __restrict squares, Real* __restrict above) {
  for (int i = 0; i < kLanes; ++i) {
    const Real difference = static_cast<Real>(values[i]) - mean[i];
    reach[i] += Magnitude(difference);
    squares[i] += difference * difference;
    above[i] += Choose(difference >= 0, Real{1}, Real{0});
  }
}

// Of the set around its means: sum of distances, sum of squares, how many are not below.
template <typename Real>
void MeasureAround(const ColumnSet& set, const Real* __restrict mean, Real* __restrict reach, Real* __restrict squares,
                   Real* __restrict above) {
  for (int i = 0; i < kLanes; ++i) reach[i] = squares[i] = above[i] = 0;
  for (int64_t c = 0; c < set.count; ++c) MeasureColumn(set.columns[c], mean, reach, squares, above);
}

// With the scale a = mean |x - m| a plane leaves sum (|x - m| - a)^2 = sum (x - m)^2 - n a^2.
template <typename Real>
void OnePlaneErrors(const ColumnSet& set, bool means, double* __restrict errors) {
  for (int i = 0; i < kLanes; ++i) errors[i] = 0;
  if (set.count == 0) return;
  Real mean[kLanes], reach[kLanes], squares[kLanes], above[kLanes];
  MeansOf(set, means, mean);
  MeasureAround(set, mean, reach, squares, above);
  const double count = static_cast<double>(set.count);
  for (int i = 0; i < kLanes; ++i) {
    const double scale = static_cast<double>(reach[i]) / count;
    errors[i] = static_cast<double>(squares[i]) - count * (scale * scale);
  }
}

// Distances from the nearer level of the two that the first plane and the mean of its residual make.
template <typename Real>
QUANTD_ONE_COLUMN void RestColumn(const float* __restrict values, const Real* __restrict mean,
                                  const Real* __restrict upper, const Real* __restrict lower, Real* __restrict rest) {
  for (int i = 0; i < kLanes; ++i) {
    const Real value = static_cast<Real>(values[i]);
    rest[i] += Magnitude(value - Choose(value - mean[i] >= 0, upper[i], lower[i]));
  }
}

// The residual r of the first plane has sum r^2 = sum (x - m)^2 - n a^2 and the mean m2 = -a (n+ - n-) / n; the second
// plane leaves sum (r - m2)^2 - n a2^2 = sum r^2 - n m2^2 - n a2^2.
template <typename Real>
void TwoPlaneErrors(const ColumnSet& set, bool means, double* __restrict errors) {
  for (int i = 0; i < kLanes; ++i) errors[i] = 0;
  if (set.count == 0) return;
  Real mean[kLanes], reach[kLanes], squares[kLanes], above[kLanes];
  MeansOf(set, means, mean);
  MeasureAround(set, mean, reach, squares, above);
  const Real count = static_cast<Real>(set.count);
  Real upper[kLanes], lower[kLanes], second_mean[kLanes], rest[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const Real scale = reach[i] / count;
    second_mean[i] = means ? -scale * (2 * above[i] - count) / count : Real{0};
    upper[i] = mean[i] + scale + second_mean[i];
    lower[i] = mean[i] - scale + second_mean[i];
    rest[i] = 0;
  }
  for (int64_t c = 0; c < set.count; ++c) RestColumn(set.columns[c], mean, upper, lower, rest);
  const double n = static_cast<double>(set.count);
  for (int i = 0; i < kLanes; ++i) {
    const double scale = static_cast<double>(reach[i]) / n, second_scale = static_cast<double>(rest[i]) / n;
    const double residual_mean = static_cast<double>(second_mean[i]);
    errors[i] = static_cast<double>(squares[i]) -
                n * (scale * scale + residual_mean * residual_mean + second_scale * second_scale);
  }
}

template <typename Real>
QUANTD_ONE_COLUMN void CountColumn(const float* __restrict values, float split, Real* __restrict low_sum,
                                   Real* __restrict counts) {
  for (int i = 0; i < kLanes; ++i) {
    const Real below = Choose(Magnitude(values[i]) < split, Real{1}, Real{0});
    low_sum[i] += below * static_cast<Real>(values[i]);
    counts[i] += below;
  }
}

template <typename Real>
struct SplitParts {
  Real below[kLanes];      // how many
  Real low_mean[kLanes];   // 0 without means, or of none
  Real high_mean[kLanes];  // likewise
};

template <typename Real>
void MeasureParts(const ColumnSet& set, bool means, const double* __restrict sums, float split,
                  SplitParts<Real>& parts) {
  Real low_sum[kLanes];
  for (int i = 0; i < kLanes; ++i) low_sum[i] = parts.below[i] = 0;
  for (int64_t c = 0; c < set.count; ++c) CountColumn(set.columns[c], split, low_sum, parts.below);
  const Real count = static_cast<Real>(set.count);
  for (int i = 0; i < kLanes; ++i) {
    const Real below = parts.below[i], above = count - below;
    parts.low_mean[i] = means && below > 0 ? low_sum[i] / below : Real{0};
    parts.high_mean[i] = means && above > 0 ? (static_cast<Real>(sums[i]) - low_sum[i]) / above : Real{0};
  }
}

template <typename Real>
QUANTD_ONE_COLUMN void DistanceColumn(const float* __restrict values, float split, const SplitParts<Real>& parts,
                                      Real* __restrict reach, Real* __restrict low_reach) {
  const Real* __restrict low_means = parts.low_mean;
  const Real* __restrict high_means = parts.high_mean;
  for (int i = 0; i < kLanes; ++i) {
    const bool below = Magnitude(values[i]) < split;
    const Real distance = Magnitude(static_cast<Real>(values[i]) - Choose(below, low_means[i], high_means[i]));
    reach[i] += distance;
    low_reach[i] += Choose(below, Real{1}, Real{0}) * distance;
  }
}

// Without means the squares of the parts' means count as 0, and so both forms read
// sum x^2 - n_low (m_low^2 + a_low^2) - n_high (m_high^2 + a_high^2).
template <typename Real>
void SplitErrors(const ColumnSet& set, bool means, const RowTotals& totals, float split, double* __restrict errors) {
  SplitParts<Real> parts;
  MeasureParts(set, means, totals.sums, split, parts);
  Real low_reach[kLanes], reach[kLanes];
  for (int i = 0; i < kLanes; ++i) low_reach[i] = reach[i] = 0;
  for (int64_t c = 0; c < set.count; ++c) DistanceColumn(set.columns[c], split, parts, reach, low_reach);
  for (int i = 0; i < kLanes; ++i) {
    const double below = static_cast<double>(parts.below[i]), above = static_cast<double>(set.count) - below;
    const double low_mean = static_cast<double>(parts.low_mean[i]);
    const double high_mean = static_cast<double>(parts.high_mean[i]);
    const double low = static_cast<double>(low_reach[i]), high = static_cast<double>(reach[i]) - low;
    const double low_gain = below > 0 ? below * low_mean * low_mean + low * low / below : 0.0;
    const double high_gain = above > 0 ? above * high_mean * high_mean + high * high / above : 0.0;
    errors[i] = totals.squares[i] - low_gain - high_gain;
  }
}

// sums / counts, in place.
inline void DivideCounted(double* __restrict sums, const double* __restrict counts) {
  for (int i = 0; i < kLanes; ++i) sums[i] = counts[i] > 0 ? sums[i] / counts[i] : 0.0;
}

void MeanOfPart(const ColumnSet& set, const ColumnSet& domain, float split, bool below, double* __restrict means) {
  double counts[kLanes];
  const double if_below = below ? 1 : 0, if_above = below ? 0 : 1;
  for (int i = 0; i < kLanes; ++i) means[i] = counts[i] = 0;
  for (int64_t c = 0; c < set.count; ++c) {
    const float* __restrict values = set.columns[c];
    const float* __restrict where = domain.columns[c];
    for (int i = 0; i < kLanes; ++i) {
      const double in_part = Choose(Magnitude(where[i]) < split, if_below, if_above);
      means[i] += in_part * static_cast<double>(values[i]);
      counts[i] += in_part;
    }
  }
  DivideCounted(means, counts);
}

void DistanceOfPart(const ColumnSet& set, const ColumnSet& domain, float split, bool below,
                    const float* __restrict means, double* __restrict distances) {
  double counts[kLanes];
  const double if_below = below ? 1 : 0, if_above = below ? 0 : 1;
  for (int i = 0; i < kLanes; ++i) distances[i] = counts[i] = 0;
  for (int64_t c = 0; c < set.count; ++c) {
    const float* __restrict values = set.columns[c];
    const float* __restrict where = domain.columns[c];
    for (int i = 0; i < kLanes; ++i) {
      const double in_part = Choose(Magnitude(where[i]) < split, if_below, if_above);
      distances[i] += in_part * Magnitude(static_cast<double>(values[i]) - static_cast<double>(means[i]));
      counts[i] += in_part;
    }
  }
  DivideCounted(distances, counts);
}

void CodePlain(const float* values, const float* __restrict domain, float split, const PlainLevels& low,
               const PlainLevels& high, float* nearest, uint16_t* __restrict codes) {
  const float* __restrict low_means = low.mean;
  const float* __restrict high_means = high.mean;
  const float* __restrict low_scales = low.scale;
  const float* __restrict high_scales = high.scale;
  for (int i = 0; i < kLanes; ++i) {
    const bool below = Magnitude(domain[i]) < split;
    const float mean = Choose(below, low_means[i], high_means[i]);
    const float scale = Choose(below, low_scales[i], high_scales[i]);
    const bool positive = values[i] >= mean;
    codes[i] = static_cast<uint16_t>((positive ? 1 : 0) | (below ? 0 : 2));
    nearest[i] = mean + (positive ? scale : -scale);
  }
}

void CodeSalient(const float* values, const SalientLevels& levels, float* nearest, uint16_t* __restrict codes) {
  for (int i = 0; i < kLanes; ++i) {
    const bool first = values[i] >= levels.first_mean[i];
    const float scale = first ? levels.scale[i] : -levels.scale[i];
    const bool second = values[i] - (levels.first_mean[i] + scale) >= levels.second_mean[i];
    codes[i] = static_cast<uint16_t>((first ? 1 : 0) | (second ? 2 : 0));
    nearest[i] = (levels.mean[i] + scale) + (second ? levels.second_scale[i] : -levels.second_scale[i]);
  }
}

constexpr ResidualBinaryKernels TableFor(Isa isa) {
  return {isa,
          &Weigh,
          &OnePlaneErrors<float>,
          &OnePlaneErrors<double>,
          &TwoPlaneErrors<float>,
          &TwoPlaneErrors<double>,
          &SplitErrors<float>,
          &SplitErrors<double>,
          &MeanOfPart,
          &DistanceOfPart,
          &CodePlain,
          &CodeSalient};
}

#undef QUANTD_ONE_COLUMN

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RESIDUAL_BINARY_KERNEL_LOOPS_H_
