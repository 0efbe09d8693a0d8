#include "core/quant/optq_sweep.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/compute/tile_product.h"
#include "core/quant/uniform_kernels.h"

namespace quantd {
namespace {

// Columns updated one by one; the rest of a block gets their errors by one small product.
constexpr int64_t kSubBlock = 16;

class Sweep {
 public:
  Sweep(const ExecutionContext& context, const Grid& grid, const MatrixView& weight, const OptqFactor& factor,
        const OptqOptions& options)
      : context_(context),
        grid_(grid),
        weight_(weight),
        factor_(factor),
        kernels_(UniformKernelsFor(context.isa())),
        cols_(weight.cols),
        columns_per_fit_(grid.columns_per_fit(weight.cols)),
        fits_late_(grid.fit_time() == FitTime::kLate),
        repay_within_block_(grid.compensation() == Compensation::kColumn),
        fits_before_sweep_(repay_within_block_ &&
                           (options.static_groups || (!fits_late_ && columns_per_fit_ == cols_))),
        block_size_(repay_within_block_ ? std::min(options.block_size, cols_) : columns_per_fit_),
        values_(CutIntoSlabs(context, weight)),
        errors_(weight.rows, block_size_),
        codes_(weight.rows, weight.cols),
        costs_(weight.cols),
        diagonal_(factor.diagonal),
        squares_(values_.slabs() * kSlabRows) {}

  absl::StatusOr<Solution> Run() {
    RETURN_IF_ERROR(FitInModelOrder());
    PermuteColumns(context_, factor_.order, values_);
    for (int64_t j = 0; j < cols_; ++j) {
      costs_[j] = CostOf(j);
      diagonal_[j] = factor_.diagonal[factor_.order[j]];
    }
    for (int64_t first = 0; first < cols_; first += block_size_) {
      RETURN_IF_ERROR(FitAndSweepBlock({first, std::min(first + block_size_, cols_)}));
    }
    return InModelOrder();
  }

 private:
  struct Steps {
    int64_t begin, end;
  };

  float CostOf(int64_t step) const {
    if (factor_.dead[factor_.order[step]]) return 0;
    return 1.0f / (factor_.factor.at(step, step) * factor_.factor.at(step, step));
  }

  FitColumns ColumnsFrom(int64_t first, int64_t count) const {
    return {values_,    first,
            count,      absl::MakeConstSpan(costs_).subspan(first, count),
            statistic_, absl::MakeConstSpan(diagonal_).subspan(first, count)};
  }

  absl::Status Fit(int64_t first) {
    const int64_t count = std::min(columns_per_fit_, cols_ - first);
    ASSIGN_OR_RETURN(std::unique_ptr<FittedGrid> fit, grid_.Fit(context_, ColumnsFrom(first, count)));
    fits_.push_back(std::move(fit));
    return absl::OkStatus();
  }

  // Whole rows see the weights as they are; groups see dead columns as the zeros they become.
  absl::Status FitInModelOrder() {
    for (int64_t j = 0; j < cols_; ++j) costs_[factor_.order[j]] = CostOf(j);
    statistic_ = grid_.StatisticOf(context_, ColumnsFrom(0, cols_));
    if (fits_before_sweep_ && columns_per_fit_ == cols_) RETURN_IF_ERROR(Fit(0));
    ClearDeadColumns();
    for (int64_t first = 0; fits_before_sweep_ && columns_per_fit_ < cols_ && first < cols_;
         first += columns_per_fit_) {
      RETURN_IF_ERROR(Fit(first));
    }
    return absl::OkStatus();
  }

  void ClearDeadColumns() {
    for (int64_t c = 0; c < cols_; ++c) {
      for (int64_t slab = 0; factor_.dead[c] && slab < values_.slabs(); ++slab) {
        std::fill_n(values_.column(slab, c), kSlabRows, 0.0f);
      }
    }
  }

  absl::Status FitGroupsBeginningIn(Steps steps) {
    for (int64_t first = RoundUp(steps.begin, columns_per_fit_); first < steps.end; first += columns_per_fit_) {
      RETURN_IF_ERROR(Fit(first));
    }
    return absl::OkStatus();
  }

  // In one go, or, for grids that are fitted late, in pieces that end where the next group begins.
  absl::Status FitAndSweepBlock(Steps block) {
    const bool in_pieces = fits_late_ && !fits_before_sweep_;
    for (Steps piece = {block.begin, 0}; piece.begin < block.end; piece.begin = piece.end) {
      piece.end = in_pieces ? std::min(RoundUp(piece.begin + 1, columns_per_fit_), block.end) : block.end;
      if (!fits_before_sweep_) RETURN_IF_ERROR(FitGroupsBeginningIn(piece));
      context_.pool().ParallelFor(values_.slabs(), [&](int64_t slab) { SweepPiece(slab, piece, block); });
    }
    return absl::OkStatus();
  }

  // The column that a step of the sweep has in the order in which grids were fitted.
  int64_t FittedColumn(int64_t step) const { return fits_before_sweep_ ? factor_.order[step] : step; }

  void QuantizeColumn(int64_t slab, int64_t step, float* errors) {
    const int64_t column = FittedColumn(step);
    float nearest[kSlabRows];
    float* values = values_.column(slab, step);
    fits_[column / columns_per_fit_]->Nearest(column % columns_per_fit_, slab, values, nearest,
                                              codes_.column(slab, factor_.order[step]));
    kernels_.divide_difference(values, nearest, factor_.factor.at(step, step), errors);
    kernels_.add_squares(errors, &squares_[slab * kSlabRows]);
    std::memcpy(values, nearest, sizeof(nearest));
  }

  void SweepPiece(int64_t slab, Steps piece, Steps block) {
    for (int64_t begin = piece.begin; begin < piece.end; begin += kSubBlock) {
      const int64_t sub_end = std::min(begin + kSubBlock, piece.end);
      for (int64_t i = begin; i < sub_end; ++i) {
        float* errors = errors_.column(slab, i - block.begin);
        QuantizeColumn(slab, i, errors);
        const float* row = factor_.factor.row(i);
        for (int64_t j = i + 1; repay_within_block_ && j < sub_end; ++j) {
          kernels_.subtract_scaled(errors, row[j], values_.column(slab, j));
        }
      }
      if (repay_within_block_) Repay(slab, {begin, sub_end}, block.begin, {sub_end, block.end});
    }
    if (piece.end == block.end) Repay(slab, block, block.begin, {block.end, cols_});
  }

  // Columns `to` get the errors of columns `from`, of the block that began at `first`.
  void Repay(int64_t slab, Steps from, int64_t first, Steps to) {
    if (to.begin == to.end) return;
    const MatrixView u =
        factor_.factor.view().Rows(from.begin, from.end - from.begin).Cols(to.begin, to.end - to.begin);
    const MatrixView errors = {errors_.column(slab, from.begin - first), from.end - from.begin, kSlabRows, kSlabRows};
    SubtractTransposedProduct(u, errors, {values_.column(slab, to.begin), to.end - to.begin, kSlabRows, kSlabRows});
  }

  Solution InModelOrder() {
    std::vector<int32_t> step_of_column(cols_);
    std::vector<int32_t> fit_of_column(cols_);
    for (int64_t step = 0; step < cols_; ++step) {
      step_of_column[factor_.order[step]] = static_cast<int32_t>(step);
      fit_of_column[factor_.order[step]] = static_cast<int32_t>(FittedColumn(step) / columns_per_fit_);
    }
    PermuteColumns(context_, step_of_column, values_);
    const double squared_error = SquaredError();
    return {.values = std::move(values_),
            .codes = std::move(codes_),
            .fits = std::move(fits_),
            .fit_of_column = std::move(fit_of_column),
            .squared_error = squared_error};
  }

  // With E = W - W-hat the sweep has made sum e^2 = tr(E (s H + d I) E^T); the damping's share is taken out. Columns
  // must be in model order.
  double SquaredError() const {
    std::vector<double> differences(values_.slabs());
    context_.pool().ParallelFor(values_.slabs(), [&](int64_t slab) { differences[slab] = SquaredDifference(slab); });
    const double damped = std::accumulate(squares_.begin(), squares_.end(), 0.0);
    const double difference = std::accumulate(differences.begin(), differences.end(), 0.0);
    return std::max(0.0, damped - factor_.scaled_damping * difference) / factor_.scale;
  }

  // Dead columns were swept as zeros: no difference.
  double SquaredDifference(int64_t slab) const {
    double sum = 0;
    for (int64_t r = 0; r < values_.rows_in(slab); ++r) {
      const float* row = weight_.row(values_.first_row(slab) + r);
      for (int64_t c = 0; c < cols_; ++c) {
        const double difference = factor_.dead[c] ? 0.0 : static_cast<double>(row[c]) - values_.column(slab, c)[r];
        sum += difference * difference;
      }
    }
    return sum;
  }

  const ExecutionContext& context_;
  const Grid& grid_;
  const MatrixView weight_;
  const OptqFactor& factor_;
  const UniformKernels& kernels_;
  const int64_t cols_;
  const int64_t columns_per_fit_;
  const bool fits_late_;
  const bool repay_within_block_;
  const bool fits_before_sweep_;
  const int64_t block_size_;
  WeightSlabs values_;  // in model order until grids of the model's layout are fitted, then in sweep order
  WeightSlabs errors_;  // e of the current block
  CodeSlabs codes_;     // in model order
  // By column while groups are fitted in model order, then by step.
  std::vector<float> costs_;
  std::vector<float> diagonal_;
  double statistic_ = 0;
  std::vector<double> squares_;  // sum of e^2, by row
  std::vector<std::unique_ptr<FittedGrid>> fits_;
};

}  // namespace

absl::StatusOr<Solution> SweepColumns(const ExecutionContext& context, const Grid& grid, const MatrixView& weight,
                                      const OptqFactor& factor, const OptqOptions& options) {
  return Sweep(context, grid, weight, factor, options).Run();
}

}  // namespace quantd
