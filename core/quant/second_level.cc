#include "core/quant/second_level.h"

#include <algorithm>
#include <cmath>

namespace quantd {
namespace {

// Steps below this are none: quotients by them, and products with them, would leave the range of normal numbers.
constexpr float kSmallestStep = 0x1p-100f;

}  // namespace

uint8_t SecondLevel::Code(float value, int bits) const {
  if (step == 0) return 0;
  const float max_code = static_cast<float>((1 << bits) - 1);
  const float code = std::nearbyint(value / step + offset);
  return code > 0 ? static_cast<uint8_t>(std::min(code, max_code)) : uint8_t{0};  // also for NaN
}

float AsStored(float value, Dtype dtype) {
  return dtype == Dtype::kF16 ? F16ToF32(F32ToF16(value)) : value;
}

SecondLevel FitSecondLevel(absl::Span<const float> values, const SecondLevelOptions& options) {
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  float lo = *least, hi = *greatest;
  if (lo == hi && options.authors_equal_values) {
    lo = -1;
    hi = 1;
  }
  const float step = AsStored((hi - lo) / static_cast<float>((1 << options.bits) - 1), options.dtype);
  if (step >= kSmallestStep) {
    const float offset = AsStored(-lo / step + 0.0f, options.dtype);  // + 0: no negative zero
    if (std::isfinite(offset)) return {step, offset};
  }
  // Equal, or as good as equal for the dtype.
  const float middle = AsStored(lo + (hi - lo) / 2, options.dtype);
  return {0, std::abs(middle) < kSmallestStep ? 0 : middle};
}

}  // namespace quantd
