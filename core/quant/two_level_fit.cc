#include "core/quant/two_level_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_format.h"
#include "core/quant/two_level_kernels.h"

namespace quantd {
namespace {

// One value a row of a slab.
using SlabFloats = float[kSlabRows];
using SlabColumns = int32_t[kSlabRows];

class TwoLevelFitter {
 public:
  TwoLevelFitter(const ExecutionContext& context, const TwoLevelOptions& options, const FitColumns& columns)
      : context_(context),
        options_(options),
        columns_(columns),
        kernels_(TwoLevelKernelsFor(context.isa())),
        rule_{static_cast<float>(options.max_code()), options.symmetric, options.authors_range,
              options.authors_equal_values},
        threshold_(static_cast<float>(columns.statistic)),
        costs_(columns.column_costs.begin(), columns.column_costs.end()) {
    if (costs_.empty()) costs_.assign(columns.count, 1.0f);
    const int64_t padded_rows = columns.weights.slabs() * kSlabRows;
    result_.scales.values.resize(padded_rows);
    result_.zeros.values.resize(padded_rows);
  }

  absl::StatusOr<TwoLevelScales> Fit() && {
    context_.pool().ParallelFor(columns_.weights.slabs(), [this](int64_t slab) { FitSlab(slab); });
    if (options_.scale_bits > 0) Tile(options_.scale_bits, result_.scales);
    if (options_.tiles_zeros()) {
      Tile(options_.zero_bits, result_.zeros);
    } else {
      for (float& zero : result_.zeros.values) zero = AsStored(zero, options_.scale_dtype);
    }
    RETURN_IF_ERROR(CheckScales());
    return std::move(result_);
  }

 private:
  const float* Columns(int64_t slab) const { return columns_.weights.column(slab, columns_.first); }

  void FitSlab(int64_t slab) {
    SlabFloats lo, hi;
    FindRange(slab, lo, hi);
    float* scales = &result_.scales.values[slab * kSlabRows];
    float* zeros = &result_.zeros.values[slab * kSlabRows];
    kernels_.adjust_ranges(rule_, lo, hi);
    kernels_.scales_of_ranges(rule_, lo, hi, scales);
    for (int64_t i = 0; options_.scale_bits == 0 && i < kSlabRows; ++i) {
      scales[i] = AsStored(scales[i], options_.scale_dtype);
    }
    kernels_.zeros_of_ranges(rule_, lo, scales, zeros);
    for (int64_t i = 0; options_.round_zero && i < kSlabRows; ++i) zeros[i] = std::nearbyint(zeros[i]);
  }

  // What the grid of each row must span.
  void FindRange(int64_t slab, float* lo, float* hi) const {
    SlabFloats second_least, second_greatest;
    SlabColumns least_column, greatest_column;
    const GroupExtremes extremes = {lo, second_least, hi, second_greatest, least_column, greatest_column};
    kernels_.find_extremes(Columns(slab), columns_.count, extremes);
    const bool leave_out = options_.outliers == TwoLevelOptions::Outliers::kLeaveOneOut;
    if (leave_out && columns_.count > 1 && std::isfinite(threshold_)) LeaveOutOutliers(slab, extremes);
  }

  // The released code fits every group once without each of its weights. Only leaving out the least or the greatest
  // changes the grid, so that three grids say the same.
  void LeaveOutOutliers(int64_t slab, const GroupExtremes& extremes) const {
    SlabFloats scales, zeros, all, without_least, without_greatest;
    SlabColumns none;
    std::fill_n(none, kSlabRows, -1);
    ErrorsOfRange(slab, {extremes.second_least, extremes.greatest}, extremes.least_column, without_least);
    ErrorsOfRange(slab, {extremes.least, extremes.second_greatest}, extremes.greatest_column, without_greatest);
    SlabFloats lo, hi;
    PlainGrid({extremes.least, extremes.greatest}, lo, hi, scales, zeros);
    const GroupGrid grid = {scales, zeros, rule_.max_code};
    kernels_.add_up_errors(Columns(slab), costs_.data(), columns_.count, grid, none, all);
    const LeaveOneOut errors = {all, without_least, without_greatest, extremes.least_column, extremes.greatest_column};
    kernels_.range_without_outliers(Columns(slab), costs_.data(), columns_.count, grid, errors, threshold_,
                                    extremes.least, extremes.greatest);
    for (int64_t i = 0; i < kSlabRows; ++i) {
      if (extremes.least[i] <= extremes.greatest[i]) continue;
      // Nothing but outliers. The released code replaces them by zeros.
      extremes.least[i] = options_.authors_equal_values ? 0 : lo[i];
      extremes.greatest[i] = options_.authors_equal_values ? 0 : hi[i];
    }
  }

  struct Range {
    const float* lo;
    const float* hi;
  };
  // Without a second level, without rounding: what the outlier test is made on.
  void PlainGrid(Range range, float* lo, float* hi, float* scales, float* zeros) const {
    std::copy_n(range.lo, kSlabRows, lo);
    std::copy_n(range.hi, kSlabRows, hi);
    kernels_.adjust_ranges(rule_, lo, hi);
    kernels_.scales_of_ranges(rule_, lo, hi, scales);
    kernels_.zeros_of_ranges(rule_, lo, scales, zeros);
  }

  void ErrorsOfRange(int64_t slab, Range range, const int32_t* skipped, float* errors) const {
    SlabFloats lo, hi, scales, zeros;
    PlainGrid(range, lo, hi, scales, zeros);
    kernels_.add_up_errors(Columns(slab), costs_.data(), columns_.count, {scales, zeros, rule_.max_code}, skipped,
                           errors);
  }

  void Tile(int bits, TiledValues& tiled) const {
    const int64_t rows = columns_.weights.rows();
    const SecondLevelOptions options = {bits, options_.scale_dtype, options_.authors_equal_values};
    tiled.codes.resize(rows);
    tiled.levels.resize(CeilDiv(rows, options_.tile_rows));
    for (size_t tile = 0; tile < tiled.levels.size(); ++tile) {
      const int64_t first = static_cast<int64_t>(tile) * options_.tile_rows;
      const int64_t count = std::min(options_.tile_rows, rows - first);
      const absl::Span<float> values = absl::MakeSpan(tiled.values).subspan(first, count);
      const SecondLevel level = FitSecondLevel(values, options);
      for (int64_t r = 0; r < count; ++r) {
        tiled.codes[first + r] = level.Code(values[r], bits);
        values[r] = level.Value(tiled.codes[first + r]);
      }
      tiled.levels[tile] = level;
    }
  }

  absl::Status CheckScales() const {
    for (int64_t row = 0; row < columns_.weights.rows(); ++row) {
      const float scale = result_.scales.values[row];
      // Also the farthest level: a decoded value is finite.
      const float reach = std::abs(result_.zeros.values[row]) + rule_.max_code;
      if (std::isfinite(scale * reach)) continue;
      return InvalidInput(
          "SCALE_OUT_OF_RANGE",
          absl::StrFormat("row %d, inputs %d..%d: the weights need a scale beyond what %s holds; set scale_dtype=f32 "
                          "or skip this layer",
                          row, columns_.first, columns_.first + columns_.count - 1, DtypeName(options_.scale_dtype)));
    }
    return absl::OkStatus();
  }

  const ExecutionContext& context_;
  const TwoLevelOptions& options_;
  const FitColumns& columns_;
  const TwoLevelKernels& kernels_;
  const RangeRule rule_;
  const float threshold_;
  std::vector<float> costs_;
  TwoLevelScales result_;
};

// Unbiased; of a single row its square.
double Variance(const WeightSlabs& weights, int64_t column) {
  double sum = 0, squares = 0;
  for (int64_t slab = 0; slab < weights.slabs(); ++slab) {
    const float* values = weights.column(slab, column);
    for (int64_t r = 0; r < weights.rows_in(slab); ++r) {
      sum += values[r];
      squares += static_cast<double>(values[r]) * values[r];
    }
  }
  const double rows = static_cast<double>(weights.rows());
  return rows == 1 ? squares : std::max(0.0, squares - sum * sum / rows) / (rows - 1);
}

}  // namespace

double OutlierThreshold(const ExecutionContext& context, const TwoLevelOptions& options, const FitColumns& whole) {
  if (options.outliers == TwoLevelOptions::Outliers::kNone) return std::numeric_limits<double>::infinity();
  std::vector<double> costs(whole.count);
  context.pool().ParallelFor(whole.count, [&](int64_t c) {
    const double cost = whole.column_costs.empty() ? 1.0 : whole.column_costs[c];
    costs[c] = cost * Variance(whole.weights, whole.first + c);
  });
  const double mean = std::accumulate(costs.begin(), costs.end(), 0.0) / static_cast<double>(whole.count);
  // Columns that do not vary give nothing to measure against.
  return mean > 0 ? options.outlier_threshold * mean : std::numeric_limits<double>::infinity();
}

absl::StatusOr<TwoLevelScales> FitTwoLevelScales(const ExecutionContext& context, const TwoLevelOptions& options,
                                                 const FitColumns& columns) {
  return TwoLevelFitter(context, options, columns).Fit();
}

}  // namespace quantd
