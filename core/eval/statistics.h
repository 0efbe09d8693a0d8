// The statistics of an evaluation: pure functions of per-token values, sums in f64 in the order given.
#ifndef QUANTD_CORE_EVAL_STATISTICS_H_
#define QUANTD_CORE_EVAL_STATISTICS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace quantd {

// Compensated (Neumaier), so that the sum of a million values keeps the last digits of f64. 0 for none.
double Sum(absl::Span<const double> values);
double Mean(absl::Span<const double> values);

// Standard error of the mean of independent values: sqrt(variance / (n - 1)) with the variance over n. 0 below two
// values.
double StandardError(absl::Span<const double> values);

// Standard error of sum(sums) / sum(counts) from groups whose members are correlated (tokens of one window): with equal
// counts the standard deviation of the group means over the square root of the number of groups. 0 below two groups.
double GroupedStandardError(absl::Span<const double> sums, absl::Span<const int64_t> counts);

// Standard error of a share p observed on n positions: sqrt(p (1 - p) / n).
double ShareError(double share, int64_t count);

// The value that a share `q` of the values lies below: element floor(q n) of the ascending order, at most the last one.
// `sorted` ascending, not empty.
double SortedQuantile(absl::Span<const double> sorted, double q);

// How values spread over powers of ten.
struct LogHistogram {
  std::vector<double> edges;    // ascending; bin i counts edges[i] <= value < edges[i + 1]
  std::vector<int64_t> counts;  // one less than edges
  int64_t below = 0;            // values under the first edge, zeros among them
  int64_t above = 0;            // values from the last edge on
};

// Four bins a decade from 1e-7 to 1e2: KL divergences in nats.
LogHistogram MakeKlHistogram(absl::Span<const double> values);

}  // namespace quantd

#endif  // QUANTD_CORE_EVAL_STATISTICS_H_
