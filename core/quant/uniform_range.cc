#include "core/quant/uniform_range.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantd {
namespace {

float StoredScale(float scale, Dtype dtype) {
  // A range so small that its scale underflows still needs a positive one.
  if (dtype == Dtype::kF32) return std::max(scale, std::numeric_limits<float>::min());
  constexpr float kSmallestF16 = 0x1p-24f;
  return std::max(F16ToF32(F32ToF16(scale)), kSmallestF16);
}

}  // namespace

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

ScaleAndZero GridOfRange(const UniformOptions& options, float lo, float hi) {
  const float max_code = static_cast<float>(options.max_code());
  const float scale = StoredScale((hi - lo) / max_code, options.scale_dtype);
  if (options.symmetric) return {scale, static_cast<float>(1 << (options.bits - 1))};
  return {scale, std::clamp(std::nearbyint(-lo / scale), 0.0f, max_code)};
}

}  // namespace quantd
