#include "core/quant/uniform_fit.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "core/quant/clip_search.h"
#include "core/quant/uniform_range.h"

namespace quantd {
namespace {

class UniformFitter {
 public:
  UniformFitter(const ExecutionContext& context, const UniformOptions& options, const FitColumns& columns)
      : context_(context),
        options_(options),
        columns_(columns),
        kernels_(UniformKernelsFor(context.isa())),
        padded_rows_(columns.weights.slabs() * kSlabRows),
        lo_(padded_rows_),
        hi_(padded_rows_),
        result_{std::vector<float>(padded_rows_), std::vector<float>(padded_rows_)} {}

  absl::StatusOr<UniformScales> Fit() && {
    ForSlabs([this](int64_t slab) { MeasureRange(slab); });
    if (!options_.per_row) ShareRange();
    for (int64_t row = 0; row < padded_rows_; ++row) AdjustRange(options_, lo_[row], hi_[row]);
    SetScales(options_.clip_search ? SearchClipping(context_, options_, columns_, {lo_, hi_})
                                   : std::vector<int>(padded_rows_, kFullPercent));
    RETURN_IF_ERROR(CheckScales());
    return std::move(result_);
  }

 private:
  template <typename Body>
  void ForSlabs(const Body& body) const {
    context_.pool().ParallelFor(columns_.weights.slabs(), body);
  }

  void MeasureRange(int64_t slab) {
    for (int64_t c = 0; c < columns_.count; ++c) {
      kernels_.widen_range(columns_.weights.column(slab, columns_.first + c), &lo_[slab * kSlabRows],
                           &hi_[slab * kSlabRows]);
    }
  }

  void ShareRange() {
    std::fill(lo_.begin(), lo_.end(), *std::min_element(lo_.begin(), lo_.end()));
    std::fill(hi_.begin(), hi_.end(), *std::max_element(hi_.begin(), hi_.end()));
  }

  void SetScales(const std::vector<int>& percents) {
    for (int64_t row = 0; row < padded_rows_; ++row) {
      const float shrink = ShrinkOf(percents[row]);
      const ScaleAndZero grid = GridOfRange(options_, shrink * lo_[row], shrink * hi_[row]);
      result_.scales[row] = grid.scale;
      result_.zeros[row] = grid.zero;
    }
  }

  absl::Status CheckScales() const {
    for (int64_t row = 0; row < columns_.weights.rows(); ++row) {
      if (std::isfinite(result_.scales[row])) continue;
      return InvalidInput(
          "SCALE_OUT_OF_RANGE",
          absl::StrFormat(
              "row %d, inputs %d..%d: weights from %g to %g need a scale beyond what %s holds; set scale_dtype=f32 or "
              "skip this layer",
              row, columns_.first, columns_.first + columns_.count - 1, lo_[row], hi_[row],
              DtypeName(options_.scale_dtype)));
    }
    return absl::OkStatus();
  }

  const ExecutionContext& context_;
  const UniformOptions& options_;
  const FitColumns& columns_;
  const UniformKernels& kernels_;
  const int64_t padded_rows_;
  std::vector<float> lo_;
  std::vector<float> hi_;
  UniformScales result_;
};

}  // namespace

absl::StatusOr<UniformScales> FitUniformScales(const ExecutionContext& context, const UniformOptions& options,
                                               const FitColumns& columns) {
  return UniformFitter(context, options, columns).Fit();
}

}  // namespace quantd
