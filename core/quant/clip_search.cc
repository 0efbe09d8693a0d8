#include "core/quant/clip_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/quant/uniform_kernels.h"
#include "core/quant/uniform_range.h"

namespace quantd {
namespace {

constexpr int kCandidates = 80;
// A rounded scale moves each error by up to 2^-24 of a level, which is up to 2^8 errors large; the power takes 2.4 of
// that relative change. Signs differ, so that sums move much less: a wide margin costs time only.
constexpr double kNearTie = 2.4 * 0x1p-16;
// f64 sums of up to 2^16 terms: exact ties (mirrored weights) go to the wider range.
constexpr double kExactTie = 1e-12;

class ClipSearch {
 public:
  ClipSearch(const ExecutionContext& context, const UniformOptions& options, const FitColumns& columns,
             WeightRanges ranges)
      : context_(context),
        options_(options),
        columns_(columns),
        ranges_(ranges),
        kernels_(UniformKernelsFor(context.isa())),
        padded_rows_(static_cast<int64_t>(ranges.lo.size())),
        errors_(kCandidates, std::vector<double>(ranges.lo.size())) {}

  std::vector<int> Run() && {
    ForSlabs([this](int64_t slab) {
      for (int candidate = 0; candidate < kCandidates; ++candidate) AddErrors(slab, candidate);
    });
    const int64_t rows = columns_.weights.rows();
    if (!options_.per_row) return std::vector<int>(padded_rows_, Choose(0, rows));
    std::vector<int> percents(padded_rows_, kFullPercent);
    ForSlabs([&](int64_t slab) {
      for (int64_t row = slab * kSlabRows; row < std::min(rows, (slab + 1) * kSlabRows); ++row) {
        percents[row] = Choose(row, row + 1);
      }
    });
    return percents;
  }

 private:
  template <typename Body>
  void ForSlabs(const Body& body) const {
    context_.pool().ParallelFor(columns_.weights.slabs(), body);
  }

  void AddErrors(int64_t slab, int candidate) {
    const int64_t first = slab * kSlabRows;
    const float shrink = ShrinkOf(kFullPercent - candidate);
    float scales[kSlabRows];
    float zeros[kSlabRows];
    for (int64_t i = 0; i < kSlabRows; ++i) {
      const ScaleAndZero grid = GridOfRange(options_, shrink * ranges_.lo[first + i], shrink * ranges_.hi[first + i]);
      scales[i] = grid.scale;
      zeros[i] = grid.zero;
    }
    for (int64_t c = 0; c < columns_.count; ++c) {
      kernels_.add_clip_errors(columns_.weights.column(slab, columns_.first + c), scales, zeros,
                               static_cast<float>(options_.max_code()), &errors_[candidate][first]);
    }
  }

  // The percentage that suits rows [first, end) together.
  int Choose(int64_t first, int64_t end) const {
    double sums[kCandidates] = {};
    for (int candidate = 0; candidate < kCandidates; ++candidate) {
      for (int64_t row = first; row < end; ++row) sums[candidate] += errors_[candidate][row];
    }
    const double* least = std::min_element(sums, sums + kCandidates);
    const auto is_near = [&](double sum) { return sum <= *least * (1 + kNearTie); };
    if (std::count_if(sums, sums + kCandidates, is_near) == 1) return kFullPercent - static_cast<int>(least - sums);
    int best_percent = kFullPercent;
    double best = std::numeric_limits<double>::infinity();
    for (int candidate = 0; candidate < kCandidates; ++candidate) {
      if (!is_near(sums[candidate])) continue;
      const double exact = ExactErrors(first, end, kFullPercent - candidate);
      if (!(exact < best * (1 - kExactTie))) continue;
      best = exact;
      best_percent = kFullPercent - candidate;
    }
    return best_percent;
  }

  double ExactErrors(int64_t first, int64_t end, int percent) const {
    double sum = 0;
    for (int64_t row = first; row < end; ++row) sum += ExactErrorsOfRow(row, percent / 100.0);
    return sum;
  }

  double ExactErrorsOfRow(int64_t row, double shrink) const {
    const double lo = shrink * ranges_.lo[row];
    const double hi = shrink * ranges_.hi[row];
    const ScaleAndZero stored = GridOfRange(options_, static_cast<float>(lo), static_cast<float>(hi));
    // An f16 scale is what the weights get, and no rounding of ours.
    const double scale =
        options_.scale_dtype == Dtype::kF32 ? std::max((hi - lo) / options_.max_code(), 0x1p-126) : stored.scale;
    double sum = 0;
    for (int64_t c = 0; c < columns_.count; ++c) {
      const double value = columns_.weights.column(row / kSlabRows, columns_.first + c)[row % kSlabRows];
      const double code = std::clamp<double>(std::nearbyint(value / scale) + stored.zero, 0, options_.max_code());
      sum += std::pow(std::abs(scale * (code - stored.zero) - value), 2.4);
    }
    return sum;
  }

  const ExecutionContext& context_;
  const UniformOptions& options_;
  const FitColumns& columns_;
  const WeightRanges ranges_;
  const UniformKernels& kernels_;
  const int64_t padded_rows_;
  std::vector<std::vector<double>> errors_;  // of each candidate, of each row
};

}  // namespace

std::vector<int> SearchClipping(const ExecutionContext& context, const UniformOptions& options,
                                const FitColumns& columns, WeightRanges ranges) {
  return ClipSearch(context, options, columns, ranges).Run();
}

}  // namespace quantd
