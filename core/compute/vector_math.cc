#include "core/compute/vector_math.h"

#include <algorithm>
#include <bit>

// Loops here are simple enough for the vectorizer; clones for wider registers are chosen at load time. Contraction
// stays off
// (-ffp-contract=off), so that every clone computes the same bits.
#define QUANTD_WIDE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
// Sanitizers instrument before their runtime is up, which clone resolvers do not survive.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef QUANTD_WIDE_CLONES
#define QUANTD_WIDE_CLONES
#endif

namespace quantd {
namespace {

// exp(x) for x in [-87, 88]: x = n ln 2 + r with |r| <= ln 2 / 2, a degree-6 Taylor polynomial in r, exponent bits for
// 2^n. Truncation error below r^7 / 7! = 1.3e-7 relative.
inline float ExpInRange(float x) {
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // round to nearest: 1.5 * 2^23
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;   // ln 2 in two parts (Cody and Waite)
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t exponent = static_cast<int32_t>(n) + 127;
  return p * std::bit_cast<float>(exponent << 23);
}

constexpr size_t kLanes = 16;

// Sum in 16 lanes, then over the lanes: the same order whatever the register width.
QUANTD_WIDE_CLONES float LaneSum(const float* values, size_t count) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += values[i + lane];
  }
  float sum = 0;
  for (; i < count; ++i) sum += values[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

QUANTD_WIDE_CLONES void ExpLoop(float* values, size_t count, float maximum) {
  for (size_t i = 0; i < count; ++i) {
    const float x = values[i] - maximum;
    const float e = ExpInRange(x < -87.0f ? -87.0f : x);
    values[i] = x < -87.0f ? 0.0f : e;
  }
}

QUANTD_WIDE_CLONES void SiluLoop(float* gate, const float* up, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const float x = gate[i];
    const float negative = -x;
    const float low = negative < -87.0f ? -87.0f : negative;
    const float clamped = low > 87.0f ? 87.0f : low;
    gate[i] = x / (1.0f + ExpInRange(clamped)) * up[i];
  }
}

QUANTD_WIDE_CLONES float LaneMax(const float* values, size_t count) {
  float best = values[0];
  for (size_t i = 0; i < count; ++i) best = values[i] > best ? values[i] : best;
  return best;
}

}  // namespace

float ExpShifted(absl::Span<float> values, float maximum) {
  ExpLoop(values.data(), values.size(), maximum);
  return LaneSum(values.data(), values.size());
}

void Softmax(absl::Span<float> values) {
  if (values.empty()) return;
  const float inverse = 1.0f / ExpShifted(values, LaneMax(values.data(), values.size()));
  for (float& value : values) value *= inverse;
}

void SiluTimes(absl::Span<float> gate, absl::Span<const float> up) {
  SiluLoop(gate.data(), up.data(), gate.size());
}

}  // namespace quantd
