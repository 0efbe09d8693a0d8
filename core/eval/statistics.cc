#include "core/eval/statistics.h"

#include <algorithm>
#include <cmath>

namespace quantd {
namespace {

constexpr int kBinsPerDecade = 4;
constexpr int kFirstDecade = -7;
constexpr int kLastDecade = 2;

}  // namespace

double Sum(absl::Span<const double> values) {
  double sum = 0, compensation = 0;
  for (const double value : values) {
    const double next = sum + value;
    compensation += std::abs(sum) >= std::abs(value) ? (sum - next) + value : (value - next) + sum;
    sum = next;
  }
  return sum + compensation;
}

double Mean(absl::Span<const double> values) {
  return values.empty() ? 0 : Sum(values) / static_cast<double>(values.size());
}

double StandardError(absl::Span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double count = static_cast<double>(values.size());
  return std::sqrt(squares / count / (count - 1));
}

double GroupedStandardError(absl::Span<const double> sums, absl::Span<const int64_t> counts) {
  const double groups = static_cast<double>(sums.size());
  if (sums.size() < 2) return 0;
  double total = 0;
  for (const int64_t count : counts) total += static_cast<double>(count);
  const double mean = Sum(sums) / total;
  // Ratio estimator: residuals of the group sums, scaled by the mean group size.
  double squares = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    const double residual = sums[i] - mean * static_cast<double>(counts[i]);
    squares += residual * residual;
  }
  return std::sqrt(squares / (groups - 1) / groups) / (total / groups);
}

double ShareError(double share, int64_t count) {
  return count == 0 ? 0 : std::sqrt(share * (1 - share) / static_cast<double>(count));
}

double SortedQuantile(absl::Span<const double> sorted, double q) {
  const size_t index = static_cast<size_t>(q * static_cast<double>(sorted.size()));
  return sorted[std::min(index, sorted.size() - 1)];
}

LogHistogram MakeKlHistogram(absl::Span<const double> values) {
  LogHistogram histogram;
  for (int i = kFirstDecade * kBinsPerDecade; i <= kLastDecade * kBinsPerDecade; ++i) {
    histogram.edges.push_back(std::pow(10.0, static_cast<double>(i) / kBinsPerDecade));
  }
  histogram.counts.resize(histogram.edges.size() - 1);
  for (const double value : values) {
    const auto it = std::upper_bound(histogram.edges.begin(), histogram.edges.end(), value);
    if (it == histogram.edges.begin()) {
      ++histogram.below;
    } else if (it == histogram.edges.end()) {
      ++histogram.above;
    } else {
      ++histogram.counts[it - histogram.edges.begin() - 1];
    }
  }
  return histogram;
}

}  // namespace quantd
