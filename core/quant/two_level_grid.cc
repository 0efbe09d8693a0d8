#include "core/quant/two_level_grid.h"

#include <algorithm>
#include <cmath>

#include "core/quant/two_level_fit.h"
#include "core/quant/two_level_kernels.h"
#include "core/quant/two_level_packing.h"
#include "core/quant/two_level_weight.h"

namespace quantd {
namespace {

// Share of outliers that plans reckon with, as their authors find.
constexpr double kPlannedOutliers = 0.01;

class FittedTwoLevelGrid : public FittedGrid {
 public:
  FittedTwoLevelGrid(const ExecutionContext& context, const TwoLevelOptions& options, const FitColumns& columns,
                     TwoLevelScales scales)
      : kernels_(TwoLevelKernelsFor(context.isa())),
        max_code_(static_cast<float>(options.max_code())),
        outlier_dtype_(options.outlier_dtype),
        threshold_(static_cast<float>(columns.statistic)),
        costs_(columns.column_costs.begin(), columns.column_costs.end()),
        scales_(std::move(scales)) {
    if (costs_.empty()) costs_.assign(columns.count, 1.0f);
  }

  void Nearest(int64_t column, int64_t slab, const float* values, float* nearest, Code* codes) const override {
    const GroupGrid grid = {&scales_.scales.values[slab * kSlabRows], &scales_.zeros.values[slab * kSlabRows],
                            max_code_};
    if (!std::isfinite(threshold_)) return kernels_.round_to_grid(values, grid, nearest, codes);
    float before[kSlabRows];
    uint8_t flags[kSlabRows];
    std::copy_n(values, kSlabRows, before);
    kernels_.round_to_grid(values, grid, nearest, codes);
    if (!kernels_.find_outliers(before, nearest, costs_[column], threshold_, flags)) return;
    for (int64_t i = 0; i < kSlabRows; ++i) {
      if (flags[i] != 0) KeepIfOutlier(grid, i, {column, before[i]}, nearest, codes);
    }
  }

  const TwoLevelScales& scales() const { return scales_; }

 private:
  struct Candidate {
    int64_t column;
    float value;
  };
  float CodeOf(const GroupGrid& grid, int64_t row, float value) const {
    const float steps = grid.scales[row] > 0 ? value / grid.scales[row] : 0.0f;
    return std::nearbyint(std::clamp(steps + grid.zeros[row], 0.0f, max_code_));
  }

  // What is stored must be an outlier itself: its dtype may bring it back within the threshold, or not hold it at all.
  void KeepIfOutlier(const GroupGrid& grid, int64_t row, Candidate candidate, float* nearest, Code* codes) const {
    const float value = AsStored(candidate.value, outlier_dtype_);
    const float rounded = grid.scales[row] * (CodeOf(grid, row, value) - grid.zeros[row]);
    const float difference = value - rounded;
    if (!std::isfinite(value) || !(costs_[candidate.column] * (difference * difference) > threshold_)) return;
    nearest[row] = value;
    codes[row] = static_cast<Code>(static_cast<Code>(CodeOf(grid, row, 0)) | kTwoLevelOutlier);
  }

  const TwoLevelKernels& kernels_;
  const float max_code_;
  const Dtype outlier_dtype_;
  const float threshold_;
  std::vector<float> costs_;  // of the fitted columns
  const TwoLevelScales scales_;
};

class TwoLevelGrid : public Grid {
 public:
  explicit TwoLevelGrid(const TwoLevelOptions& options) : options_(options) {}

  int64_t columns_per_fit(int64_t cols) const override {
    return options_.group_size == -1 ? cols : std::min(options_.group_size, cols);
  }
  FitTime fit_time() const override { return FitTime::kLate; }
  double StatisticOf(const ExecutionContext& context, const FitColumns& whole) const override {
    return OutlierThreshold(context, options_, whole);
  }
  double PlannedBits(int64_t rows, int64_t cols) const override;
  absl::StatusOr<std::unique_ptr<FittedGrid>> Fit(const ExecutionContext& context,
                                                  const FitColumns& columns) const override {
    ASSIGN_OR_RETURN(TwoLevelScales scales, FitTwoLevelScales(context, options_, columns));
    return std::make_unique<FittedTwoLevelGrid>(context, options_, columns, std::move(scales));
  }
  std::unique_ptr<QuantizedWeight> Assemble(const ExecutionContext& context, const CodedColumns& coded) const override;

 private:
  TwoLevelLayout LayoutFor(int64_t rows, int64_t cols) const;

  const TwoLevelOptions options_;
};

// Of a weight whose zeros fit their codes, if they are whole, and which has no outliers.
TwoLevelLayout TwoLevelGrid::LayoutFor(int64_t rows, int64_t cols) const {
  TwoLevelLayout layout{.rows = rows,
                        .cols = cols,
                        .bits = options_.bits,
                        .group_size = columns_per_fit(cols),
                        .tile_rows = options_.tile_rows,
                        .scales = options_.scale_bits > 0 ? TwoLevelStorage::kTiled : TwoLevelStorage::kPlain,
                        .zeros = TwoLevelStorage::kPlain,
                        .scale_bits = options_.scale_bits,
                        .zero_bits = options_.zero_bits,
                        .scale_dtype = options_.scale_dtype,
                        .outlier_dtype = options_.outlier_dtype};
  if (options_.tiles_zeros()) {
    layout.zeros = TwoLevelStorage::kTiled;
  } else if (options_.symmetric && !options_.authors_equal_values) {
    layout.zeros = TwoLevelStorage::kNone;
  } else if (options_.round_zero) {
    layout.zeros = TwoLevelStorage::kWhole;
  }
  return layout;
}

double TwoLevelGrid::PlannedBits(int64_t rows, int64_t cols) const {
  TwoLevelLayout layout = LayoutFor(rows, cols);
  if (options_.outliers == TwoLevelOptions::Outliers::kNone) return static_cast<double>(layout.BitsWithoutOutliers());
  const double outliers = kPlannedOutliers * static_cast<double>(rows) * static_cast<double>(cols);
  layout.outliers = 1;  // then their counts are there
  const int outlier_bits = 8 * (DtypeBytes(layout.column_dtype()) + DtypeBytes(layout.outlier_dtype));
  return static_cast<double>(layout.BitsWithoutOutliers()) + outliers * outlier_bits;
}

std::unique_ptr<QuantizedWeight> TwoLevelGrid::Assemble(const ExecutionContext& context,
                                                        const CodedColumns& coded) const {
  TwoLevelLayout layout = LayoutFor(coded.codes.rows(), coded.codes.cols());
  for (int64_t c = 0; c < layout.cols; ++c) {
    layout.has_group_index |= coded.fit_of_column[c] != c / layout.group_size;
  }
  std::vector<const TwoLevelScales*> scales;
  for (const auto& fit : coded.fits) scales.push_back(&static_cast<const FittedTwoLevelGrid&>(*fit).scales());
  return PackTwoLevelWeight(context, layout, coded, scales);
}

}  // namespace

std::vector<ParameterInfo> TwoLevelParameters() {
  return {
      {"scale_bits", ParameterType::kInt, "3", 0, 8, {}, "bits", "width of a scale's own code; 0: not coded again"},
      {"zero_bits", ParameterType::kInt, "3", 0, 8, {}, "bits", "width of a zero point's own code; 0: not coded again"},
      {"tile_rows",
       ParameterType::kInt,
       "16",
       1,
       1 << 20,
       {},
       "rows",
       "rows whose scales of one group are coded again together; the last tile may be shorter"},
      {"round_zero", ParameterType::kBool, "false", 0, 0, {}, "", "zero points are whole numbers"},
      {"outliers",
       ParameterType::kChoice,
       "leave_one_out",
       0,
       0,
       {"leave_one_out", "simple", "none"},
       "",
       "single weights kept as they are; leave_one_out: groups are also fitted without those likely to be"},
      {"outlier_threshold",
       ParameterType::kFloat,
       "0.2",
       1e-6,
       1e6,
       {},
       "",
       "squared error, in variances of an average column, above which a weight is kept; smaller keeps more"},
      {"outlier_dtype", ParameterType::kChoice, "f16", 0, 0, {"f16", "f32"}, "", "how outliers are stored"},
      {"equal_values",
       ParameterType::kChoice,
       "exact",
       0,
       0,
       {"exact", "authors"},
       "",
       "groups, and tiles of scales or zeros, of equal values, and groups of outliers alone: kept, or given the range "
       "[-1, 1] as in the released SpQR code"},
  };
}

TwoLevelOptions TwoLevelOptionsOf(const Parameters& parameters) {
  using Outliers = TwoLevelOptions::Outliers;
  const std::string& outliers = parameters.Text("outliers");
  return {.bits = static_cast<int>(parameters.Int("bits")),
          .group_size = parameters.Int("group_size"),
          .scale_bits = static_cast<int>(parameters.Int("scale_bits")),
          .zero_bits = static_cast<int>(parameters.Int("zero_bits")),
          .tile_rows = parameters.Int("tile_rows"),
          .symmetric = parameters.Bool("symmetric"),
          .authors_range = parameters.Text("symmetric_range") == "authors",
          .round_zero = parameters.Bool("round_zero"),
          .authors_equal_values = parameters.Text("equal_values") == "authors",
          .outliers = outliers == "none"     ? Outliers::kNone
                      : outliers == "simple" ? Outliers::kSimple
                                             : Outliers::kLeaveOneOut,
          .outlier_threshold = parameters.Double("outlier_threshold"),
          .scale_dtype = parameters.Text("scale_dtype") == "f16" ? Dtype::kF16 : Dtype::kF32,
          .outlier_dtype = parameters.Text("outlier_dtype") == "f16" ? Dtype::kF16 : Dtype::kF32};
}

std::unique_ptr<Grid> MakeTwoLevelGrid(const Parameters& parameters) {
  return std::make_unique<TwoLevelGrid>(TwoLevelOptionsOf(parameters));
}

}  // namespace quantd
