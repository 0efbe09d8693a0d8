#include "core/quant/uniform_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"

namespace quantd {
namespace {

// The search shrinks the range by 0, 1, ... 79 percent.
constexpr int kClipSteps = 80;
// Symmetric grids meet exact ties between ranges: a tighter one must win by more than the rounding of weights in f32.
constexpr double kClipTie = 1e-7;

struct ScaleAndZero {
  float scale;
  float zero;
};

float StoredScale(float scale, Dtype dtype) {
  // A range so small that its scale underflows still needs a positive one.
  if (dtype == Dtype::kF32) return std::max(scale, std::numeric_limits<float>::min());
  constexpr float kSmallestF16 = 0x1p-24f;
  return std::max(F16ToF32(F32ToF16(scale)), kSmallestF16);
}

ScaleAndZero GridOfRange(const UniformOptions& options, float lo, float hi) {
  const float max_code = static_cast<float>(options.max_code());
  const float scale = StoredScale((hi - lo) / max_code, options.scale_dtype);
  if (options.symmetric) return {scale, static_cast<float>(1 << (options.bits - 1))};
  return {scale, std::clamp(std::nearbyint(-lo / scale), 0.0f, max_code)};
}

// lo <= 0 <= hi: what the levels must span.
void AdjustRange(const UniformOptions& options, float& lo, float& hi) {
  if (options.symmetric) {
    hi = std::max(-lo, hi);
    if (lo < 0 || !options.authors_range) lo = -hi;
  }
  if (lo == 0 && hi == 0) {
    lo = -1;
    hi = 1;
  }
}

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
    SetScales(result_, 1.0f);
    if (options_.clip_search) SearchClipping();
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

  void SetScales(UniformScales& target, float shrink) const {
    for (int64_t row = 0; row < padded_rows_; ++row) {
      const ScaleAndZero grid = GridOfRange(options_, shrink * lo_[row], shrink * hi_[row]);
      target.scales[row] = grid.scale;
      target.zeros[row] = grid.zero;
    }
  }

  void SearchClipping() {
    UniformScales candidate = result_;
    std::vector<double> best(padded_rows_, std::numeric_limits<double>::infinity());
    for (int step = 0; step < kClipSteps; ++step) {
      SetScales(candidate, static_cast<float>(1.0 - step / 100.0));
      const std::vector<double> errors = ClipErrors(candidate);
      for (int64_t row = 0; row < padded_rows_; ++row) {
        if (!(errors[row] < best[row] * (1 - kClipTie))) continue;
        best[row] = errors[row];
        result_.scales[row] = candidate.scales[row];
        result_.zeros[row] = candidate.zeros[row];
      }
    }
  }

  // One sum a row, or the sum over all rows in each when they share a scale.
  std::vector<double> ClipErrors(const UniformScales& candidate) const {
    std::vector<double> errors(padded_rows_);
    ForSlabs([&](int64_t slab) {
      const int64_t row = slab * kSlabRows;
      for (int64_t c = 0; c < columns_.count; ++c) {
        kernels_.add_clip_errors(columns_.weights.column(slab, columns_.first + c), &candidate.scales[row],
                                 &candidate.zeros[row], static_cast<float>(options_.max_code()), &errors[row]);
      }
    });
    if (!options_.per_row) {
      double sum = 0;
      for (double error : errors) sum += error;
      std::fill(errors.begin(), errors.end(), sum);
    }
    return errors;
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
