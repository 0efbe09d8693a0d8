#include "core/quant/residual_binary_fit.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include "absl/strings/str_format.h"
#include "core/quant/quantiles.h"
#include "core/quant/residual_binary_kernels.h"
#include "core/quant/second_level.h"

namespace quantd {
namespace {

// Errors in f32 order candidates but for those that differ by no more than such sums are exact to, relative to the sum
// of squares: n 2^-24 for sums of n = 128 terms is 8e-6, and an error has a few of them. These are computed again in
// f64, so that the choice does not depend on rounding.
constexpr double kScreening = 5e-5;

// Of the released code: up to 49 columns.
constexpr int64_t kReleasedMostSalient = 49;
constexpr int64_t kPaperLeastSalient = 3;
constexpr int64_t kPaperMostSalient = 30;
// Splits at 0.10, 0.11, ... 0.90, of the values or of the largest one.
constexpr int kSplits = 81;

using SlabDoubles = double[kSlabRows];

// Columns of one slab, in some order.
struct Pointers {
  std::vector<const float*> columns;
  ColumnSet set() const { return {columns.data(), static_cast<int64_t>(columns.size())}; }
};

class BinaryFitter {
 public:
  BinaryFitter(const ExecutionContext& context, const ResidualBinaryOptions& options, const FitColumns& columns)
      : context_(context),
        options_(options),
        columns_(columns),
        kernels_(ResidualBinaryKernelsFor(context.isa())),
        saliency_(columns.weights.rows(), options.hessian_saliency ? columns.count : 0) {}

  absl::StatusOr<BinaryBlock> Fit() && {
    if (options_.hessian_saliency) {
      context_.pool().ParallelFor(slabs(), [this](int64_t slab) { WeighSlab(slab); });
    }
    RankColumns();
    MeasureSquares();
    block_.salient.assign(columns_.count, false);
    const int64_t salient = FindSalientCount();
    for (int64_t i = 0; i < salient; ++i) block_.salient[ranked_[i]] = true;
    block_.split = FindSplit();
    for (auto& levels : block_.levels) levels.resize(slabs() * kSlabRows);
    block_.first_mean.resize(slabs() * kSlabRows);
    block_.second_mean.resize(slabs() * kSlabRows);
    context_.pool().ParallelFor(slabs(), [this](int64_t slab) { FitLevels(slab); });
    RETURN_IF_ERROR(CheckLevels());
    return std::move(block_);
  }

 private:
  int64_t slabs() const { return columns_.weights.slabs(); }
  int64_t rows_in(int64_t slab) const { return columns_.weights.rows_in(slab); }
  const float* Weights(int64_t slab, int64_t c) const { return columns_.weights.column(slab, columns_.first + c); }
  const float* Saliency(int64_t slab, int64_t c) const {
    return options_.hessian_saliency ? saliency_.column(slab, c) : Weights(slab, c);
  }
  const float* Domain(int64_t slab, int64_t c) const {
    return SearchesOnSaliency(options_) ? saliency_.column(slab, c) : Weights(slab, c);
  }

  void WeighSlab(int64_t slab) {
    for (int64_t c = 0; c < columns_.count; ++c) {
      const float cost = columns_.column_costs.empty() ? 1.0f : columns_.column_costs[c];
      kernels_.weigh(Weights(slab, c), cost, saliency_.column(slab, c));
    }
  }

  // Largest sum of saliency first; equal ones in their order.
  void RankColumns() {
    std::vector<double> sums(columns_.count);
    context_.pool().ParallelFor(columns_.count, [&](int64_t c) {
      for (int64_t slab = 0; slab < slabs(); ++slab) {
        const float* values = Saliency(slab, c);
        for (int64_t r = 0; r < rows_in(slab); ++r) sums[c] += std::abs(values[r]);
      }
    });
    ranked_.resize(columns_.count);
    std::iota(ranked_.begin(), ranked_.end(), 0);
    std::stable_sort(ranked_.begin(), ranked_.end(), [&](int64_t a, int64_t b) { return sums[a] > sums[b]; });
  }

  void MeasureSquares() {
    std::vector<double> squares(slabs());
    context_.pool().ParallelFor(slabs(), [&](int64_t slab) {
      for (int64_t c = 0; c < columns_.count; ++c) {
        const float* values = Domain(slab, c);
        for (int64_t r = 0; r < rows_in(slab); ++r) squares[slab] += static_cast<double>(values[r]) * values[r];
      }
    });
    squares_ = std::accumulate(squares.begin(), squares.end(), 0.0);
  }

  double SumOfRows(int64_t slab, const double* values) const {
    return std::accumulate(values, values + rows_in(slab), 0.0);
  }

  // Error of each candidate in a slab: in f32, or in f64.
  using Score = std::function<double(int64_t slab, int64_t candidate, bool exact)>;

  std::vector<double> ScoreAll(const std::vector<int64_t>& candidates, bool exact, const Score& score) const {
    std::vector<double> by_slab(slabs() * candidates.size());
    context_.pool().ParallelFor(static_cast<int64_t>(by_slab.size()), [&](int64_t task) {
      const int64_t count = static_cast<int64_t>(candidates.size());
      by_slab[task] = score(task / count, candidates[task % count], exact);
    });
    std::vector<double> errors(candidates.size());
    for (size_t task = 0; task < by_slab.size(); ++task) errors[task % candidates.size()] += by_slab[task];
    return errors;
  }

  // The candidate of least error, the first of equal ones.
  int64_t Best(const std::vector<int64_t>& candidates, const Score& score) const {
    const std::vector<double> errors = ScoreAll(candidates, /*exact=*/false, score);
    const double limit = *std::min_element(errors.begin(), errors.end()) + kScreening * squares_;
    std::vector<int64_t> close;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!(errors[i] > limit)) close.push_back(candidates[i]);
    }
    if (close.size() == 1) return close[0];
    const std::vector<double> exact = ScoreAll(close, /*exact=*/true, score);
    return close[std::min_element(exact.begin(), exact.end()) - exact.begin()];
  }

  int64_t FindSalientCount() const {
    const int64_t least = options_.paper_search ? kPaperLeastSalient : 1;
    const int64_t most = options_.paper_search ? kPaperMostSalient : kReleasedMostSalient;
    // The rest is never empty.
    std::vector<int64_t> candidates;
    for (int64_t n = std::min(least, columns_.count - 1); n <= std::min(most, columns_.count - 1); ++n) {
      candidates.push_back(n);
    }
    std::vector<Pointers> ranked(slabs());
    for (int64_t slab = 0; slab < slabs(); ++slab) {
      for (int64_t c : ranked_) ranked[slab].columns.push_back(Domain(slab, c));
    }
    return Best(candidates, [&](int64_t slab, int64_t n, bool exact) {
      const ColumnSet all = ranked[slab].set();
      const auto two_planes = exact ? kernels_.two_plane_errors_exact : kernels_.two_plane_errors;
      const auto one_plane = exact ? kernels_.one_plane_errors_exact : kernels_.one_plane_errors;
      SlabDoubles salient, rest;
      two_planes({all.columns, n}, options_.subtract_mean, salient);
      (options_.paper_search ? one_plane : two_planes)({all.columns + n, all.count - n}, options_.subtract_mean, rest);
      return SumOfRows(slab, salient) + SumOfRows(slab, rest);
    });
  }

  // Magnitudes of the domain, row after row of a column; 0 in salient columns, which the released code counts.
  std::vector<float> Magnitudes() const {
    std::vector<float> magnitudes;
    magnitudes.reserve(columns_.weights.rows() * columns_.count);
    for (int64_t c = 0; c < columns_.count; ++c) {
      for (int64_t slab = 0; slab < slabs(); ++slab) {
        const float* values = Domain(slab, c);
        for (int64_t r = 0; r < rows_in(slab); ++r) {
          magnitudes.push_back(block_.salient[c] ? 0.0f : std::abs(values[r]));
        }
      }
    }
    return magnitudes;
  }

  std::vector<float> SplitCandidates() const {
    std::vector<double> shares;
    for (int i = 0; i < kSplits; ++i) shares.push_back(0.10 + 0.01 * i);
    const std::vector<float> magnitudes = Magnitudes();
    if (!options_.paper_search) return Quantiles(magnitudes, shares);
    const double largest = *std::max_element(magnitudes.begin(), magnitudes.end());
    std::vector<float> splits;
    for (double share : shares) splits.push_back(static_cast<float>(share * largest));
    return splits;
  }

  struct PlainColumns {
    Pointers columns;
    SlabDoubles sums;
    SlabDoubles squares;
  };
  void CollectPlain(int64_t slab, PlainColumns& plain) const {
    std::fill_n(plain.sums, kSlabRows, 0.0);
    std::fill_n(plain.squares, kSlabRows, 0.0);
    for (int64_t c = 0; c < columns_.count; ++c) {
      if (block_.salient[c]) continue;
      const float* values = Domain(slab, c);
      plain.columns.columns.push_back(values);
      for (int64_t r = 0; r < kSlabRows; ++r) {
        plain.sums[r] += values[r];
        plain.squares[r] += static_cast<double>(values[r]) * values[r];
      }
    }
  }

  float FindSplit() const {
    std::vector<PlainColumns> plain(slabs());
    context_.pool().ParallelFor(slabs(), [&](int64_t slab) { CollectPlain(slab, plain[slab]); });
    const std::vector<float> splits = SplitCandidates();
    std::vector<int64_t> candidates(splits.size());
    std::iota(candidates.begin(), candidates.end(), 0);
    return splits[Best(candidates, [&](int64_t slab, int64_t candidate, bool exact) {
      const auto split_errors = exact ? kernels_.split_errors_exact : kernels_.split_errors;
      SlabDoubles errors;
      split_errors(plain[slab].columns.set(), options_.subtract_mean, {plain[slab].sums, plain[slab].squares},
                   splits[candidate], errors);
      return SumOfRows(slab, errors);
    })];
  }

  float Stored(double value) const { return AsStored(static_cast<float>(value), options_.scale_dtype); }
  float* Level(int64_t slab, BinaryLevel level) { return &block_.levels[level][slab * kSlabRows]; }

  void FitLevels(int64_t slab) {
    Pointers plain, domain;
    for (int64_t c = 0; c < columns_.count; ++c) {
      if (block_.salient[c]) continue;
      plain.columns.push_back(Weights(slab, c));
      domain.columns.push_back(Domain(slab, c));
    }
    FitPart(slab, plain, domain, kLowMean);
    FitPart(slab, plain, domain, kHighMean);
    FitSalient(slab);
  }

  // `mean_level` is followed by the level of the part's scale.
  void FitPart(int64_t slab, const Pointers& plain, const Pointers& domain, BinaryLevel mean_level) {
    const bool below = mean_level == kLowMean;
    float* mean = Level(slab, mean_level);
    float* scale = Level(slab, static_cast<BinaryLevel>(mean_level + 1));
    SlabDoubles exact;
    if (options_.subtract_mean) {
      kernels_.mean_of_part(plain.set(), domain.set(), block_.split, below, exact);
      for (int64_t r = 0; r < kSlabRows; ++r) mean[r] = Stored(exact[r]);
    }
    kernels_.distance_of_part(plain.set(), domain.set(), block_.split, below, mean, exact);
    for (int64_t r = 0; r < kSlabRows; ++r) scale[r] = Stored(exact[r]);
  }

  void FitSalient(int64_t slab) {
    std::vector<const float*> columns;
    for (int64_t c = 0; c < columns_.count; ++c) {
      if (block_.salient[c]) columns.push_back(Weights(slab, c));
    }
    if (columns.empty()) return;
    for (int64_t r = 0; r < kSlabRows; ++r) FitSalientRow(slab, r, columns);
  }

  // Each step starts from what is stored of the one before.
  void FitSalientRow(int64_t slab, int64_t r, const std::vector<const float*>& columns) {
    const double count = static_cast<double>(columns.size());
    const auto mean_of = [&](const auto& value) {
      double sum = 0;
      for (const float* column : columns) sum += value(column[r]);
      return sum / count;
    };
    const double mean = options_.subtract_mean ? mean_of([](float w) { return static_cast<double>(w); }) : 0;
    const float first_mean = static_cast<float>(mean);
    const float scale = Stored(mean_of([&](float w) { return std::abs(static_cast<double>(w) - first_mean); }));
    const auto residual = [&](float w) { return w - (first_mean + (w >= first_mean ? scale : -scale)); };
    const float second_mean =
        options_.subtract_mean ? static_cast<float>(mean_of([&](float w) { return static_cast<double>(residual(w)); }))
                               : 0;
    const double second_scale =
        mean_of([&](float w) { return std::abs(static_cast<double>(residual(w)) - second_mean); });
    block_.first_mean[slab * kSlabRows + r] = first_mean;
    block_.second_mean[slab * kSlabRows + r] = second_mean;
    Level(slab, kSalientMean)[r] = Stored(static_cast<double>(first_mean) + second_mean);
    Level(slab, kSalientScale)[r] = scale;
    Level(slab, kSalientSecondScale)[r] = Stored(second_scale);
  }

  absl::Status CheckLevels() const {
    for (int64_t row = 0; row < columns_.weights.rows(); ++row) {
      float reach = 0;
      for (const auto& levels : block_.levels) reach += std::abs(levels[row]);
      if (std::isfinite(reach)) continue;
      return InvalidInput(
          "SCALE_OUT_OF_RANGE",
          absl::StrFormat("row %d, inputs %d..%d: the weights need a scale beyond what %s holds; set scale_dtype=f32 "
                          "or skip this layer",
                          row, columns_.first, columns_.first + columns_.count - 1, DtypeName(options_.scale_dtype)));
    }
    return absl::OkStatus();
  }

  const ExecutionContext& context_;
  const ResidualBinaryOptions& options_;
  const FitColumns& columns_;
  const ResidualBinaryKernels& kernels_;
  WeightSlabs saliency_;         // no columns when magnitudes stand for it
  std::vector<int64_t> ranked_;  // columns of the block
  double squares_ = 0;           // of the domain
  BinaryBlock block_;
};

}  // namespace

bool SearchesOnSaliency(const ResidualBinaryOptions& options) {
  return options.hessian_saliency && !options.paper_search;
}

absl::StatusOr<BinaryBlock> FitBinaryBlock(const ExecutionContext& context, const ResidualBinaryOptions& options,
                                           const FitColumns& columns) {
  return BinaryFitter(context, options, columns).Fit();
}

}  // namespace quantd
