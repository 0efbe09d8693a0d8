// What the tables of plane kernels with 512-bit registers share. For their files only, each of which includes this once
// and is compiled for its instruction set; all names have internal linkage on purpose (vector_lanes.h says why).
#ifndef QUANTD_CORE_COMPUTE_PLANE_LOOPS_AVX512_H_
#define QUANTD_CORE_COMPUTE_PLANE_LOOPS_AVX512_H_

// GCC 12 takes the undefined operands of its own intrinsics for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstdint>

#include "core/compute/plane_kernels.h"

namespace quantd {
namespace {

// How far ahead of the bits being multiplied the next are asked for: beyond the page where hardware stops.
constexpr int64_t kPrefetchBytes = 2048;
constexpr int64_t kRegister = 16;  // floats, and rows of a block
static_assert(kRegister == kPlaneRows && kRegister == kTableSize);

inline __m512 LoadScales(bool wide, const void* scales, int64_t index) {
  if (wide) return _mm512_loadu_ps(static_cast<const float*>(scales) + index);
  const uint16_t* halves = static_cast<const uint16_t*>(scales) + index;
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)));
}

// Of the rows of a block in one group.
class BlockScaling {
 public:
  BlockScaling(const PlaneArrays& arrays, int64_t block, int64_t group)
      : a_(arrays), cell_(block * arrays.groups + group) {}

  __m512 scale() const { return LoadScales(a_.wide_scales, a_.scales, cell_ * kRegister); }
  __m512i base() const {
    if (a_.wide_bases) {
      const int16_t* bases = static_cast<const int16_t*>(a_.bases) + cell_ * kRegister;
      return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bases)));
    }
    const int8_t* bases = static_cast<const int8_t*>(a_.bases) + cell_ * kRegister;
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bases)));
  }
  __m512i step(int plane) const {
    if (a_.steps == nullptr) return _mm512_set1_epi32(a_.shared_steps[plane]);
    const uint8_t* steps = a_.steps + (cell_ * a_.planes + plane) * kRegister;
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(steps)));
  }
  __m512 alpha(int plane) const {
    return LoadScales(a_.wide_scales, a_.alphas, (cell_ * a_.planes + plane) * kRegister);
  }

 private:
  const PlaneArrays& a_;
  int64_t cell_;
};

// results: [blocks of the tile, kTokens, 16].
template <int kTokens>
void StoreResults(const PlaneArrays& a, int64_t tile, const float* results, float* out, int64_t out_stride) {
  for (int64_t b = 0; b < a.tile_blocks(tile); ++b) {
    const int64_t rows = std::min(kPlaneRows, a.rows - (tile * kTileBlocks + b) * kPlaneRows);
    const auto mask = static_cast<__mmask16>((1u << rows) - 1);
    for (int t = 0; t < kTokens; ++t) {
      float* const to = out + t * out_stride + b * kPlaneRows;
      _mm512_mask_storeu_ps(to, mask, _mm512_loadu_ps(results + (b * kTokens + t) * kRegister));
    }
  }
}

// Integers of a line's inputs, in order.
inline __m512i RoundedLine(const float* x, __m512 inverse) {
  const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse));
  const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + kRegister), inverse));
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)), _mm512_cvtepi32_epi16(high), 1);
}

// Lanes 0..15 hold input `first` of the line where their bit is set, lanes 16..31 input `second`.
inline __m512i Spread(__m512i inputs, int first, int second, __mmask32 bits) {
  const __m512i which = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi16(static_cast<int16_t>(first))),
                                           _mm256_set1_epi16(static_cast<int16_t>(second)), 1);
  return _mm512_maskz_permutexvar_epi16(bits, which, inputs);
}

// Sums of inputs first..first+3 in lanes 0..15, of second..second+3 in lanes 16..31.
inline __m512i SumsOfFour(__m512i inputs, int first, int second) {
  const __m512i low =
      _mm512_add_epi16(Spread(inputs, first, second, 0xAAAAAAAA), Spread(inputs, first + 1, second + 1, 0xCCCCCCCC));
  const __m512i high = _mm512_add_epi16(Spread(inputs, first + 2, second + 2, 0xF0F0F0F0),
                                        Spread(inputs, first + 3, second + 3, 0xFF00FF00));
  return _mm512_add_epi16(low, high);
}

inline float Largest(const float* x, int64_t count) {
  __m512 magnitudes = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += kRegister) {
    magnitudes = _mm512_max_ps(magnitudes, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
  }
  return _mm512_reduce_max_ps(magnitudes);
}

// Lookup::StoreTables(integers of a line, token, tokens, tables of the line) writes what Lookup reads.
template <typename Lookup>
void BuildRoundedTables(const float* x, int64_t lines, int token, int tokens, int16_t* tables, float* quantum,
                        float* sum) {
  const float largest = Largest(x, lines * kPlaneInputs);
  const bool zero = largest < kSmallestRounded;
  *quantum = zero ? 0 : largest / kRoundedMax;
  const __m512 inverse = _mm512_set1_ps(zero ? 0 : kRoundedMax / largest);
  __m512i total = _mm512_setzero_si512();
  for (int64_t line = 0; line < lines; ++line) {
    const __m512i inputs = RoundedLine(x + line * kPlaneInputs, inverse);
    total = _mm512_dpwssd_epi32(total, inputs, _mm512_set1_epi16(1));
    Lookup::StoreTables(inputs, token, tokens, tables + line * tokens * kRoundedLine);
  }
  *sum = static_cast<float>(_mm512_reduce_add_epi32(total));
}

// Two registers a plane and token; Lookup says how they make up the sum.
template <int kPlanes, int kTokens>
struct RoundedSums {
  __m512i plane[kPlanes][kTokens][2];
};

template <typename Lookup, int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddRoundedScaled(const BlockScaling& scaling, bool signs,
                                                            const float* quanta, const float* input_sums,
                                                            const RoundedSums<kPlanes, kTokens>& sums, float* results) {
  const __m512 scale = scaling.scale();
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const __m512 quantum = _mm512_set1_ps(quanta[t]);
    const __m512 inputs = _mm512_set1_ps(input_sums[t]);
    const __m512 factor = _mm512_mul_ps(scale, quantum);
    __m512 result = _mm512_loadu_ps(results + t * kRegister);
    __m512i integers = _mm512_setzero_si512();
    if (signs) result = _mm512_add_ps(result, _mm512_mul_ps(factor, inputs));
#pragma GCC unroll 8
    for (int p = 0; p < kPlanes; ++p) {
      const __m512i sum = Lookup::Sum(sums.plane[p][t]);
      if (signs) {
        const __m512 alpha = _mm512_mul_ps(scaling.alpha(p), quantum);
        const __m512i signed_sum = _mm512_sub_epi32(_mm512_add_epi32(sum, sum), _mm512_cvtps_epi32(inputs));
        result = _mm512_add_ps(result, _mm512_mul_ps(alpha, _mm512_cvtepi32_ps(signed_sum)));
      } else {
        integers = _mm512_add_epi32(integers, _mm512_mullo_epi32(scaling.step(p), sum));
      }
    }
    if (!signs) {
      const __m512 base = _mm512_mul_ps(_mm512_cvtepi32_ps(scaling.base()), inputs);
      result = _mm512_add_ps(result, _mm512_mul_ps(factor, _mm512_add_ps(base, _mm512_cvtepi32_ps(integers))));
    }
    _mm512_storeu_ps(results + t * kRegister, result);
  }
}

template <typename Lookup, int kPlanes, int kTokens>
void MultiplyTileRounded(const PlaneArrays& a, int64_t tile, const RoundedTables& tables, float* out,
                         int64_t out_stride) {
  const int64_t first_block = tile * kTileBlocks;
  const int64_t blocks = a.tile_blocks(tile);
  float results[kTileBlocks][kTokens * kRegister] = {};
  PlaneSpan span;
  for (int64_t first = 0; first < a.lines; first += span.lines) {
    span = SpanAt(a, first);
    const int16_t* const span_tables = tables.tables + first * kTokens * kRoundedLine;
    const uint32_t* bits = a.bits + a.LineOffset(first_block, first, first, span.lines);
    for (int64_t b = 0; b < blocks; ++b) {
      RoundedSums<kPlanes, kTokens> sums = {};
      for (int64_t line = 0; line < span.lines; ++line, bits += kPlanes * kPlaneRows) {
        __m512i words[kPlanes];
#pragma GCC unroll 8
        for (int p = 0; p < kPlanes; ++p) {
          words[p] = _mm512_loadu_si512(bits + p * kPlaneRows);
          _mm_prefetch(reinterpret_cast<const char*>(bits + p * kPlaneRows) + kPrefetchBytes, _MM_HINT_T0);
        }
        Lookup::AddLine(words, span_tables + line * kTokens * kRoundedLine, sums);
      }
      AddRoundedScaled<Lookup>(BlockScaling(a, first_block + b, span.group), a.signs, tables.quanta + first * kTokens,
                               tables.sums + first * kTokens, sums, results[b]);
    }
  }
  StoreResults<kTokens>(a, tile, results[0], out, out_stride);
}

// One function for every number of planes and tokens.
#define QUANTD_TOKENS(function, lookup, planes)                                               \
  {                                                                                           \
    &function<lookup, planes, 1>, &function<lookup, planes, 2>, &function<lookup, planes, 3>, \
        &function<lookup, planes, 4>                                                          \
  }
#define QUANTD_PLANES(function, lookup)                                                                             \
  {                                                                                                                 \
    QUANTD_TOKENS(function, lookup, 1), QUANTD_TOKENS(function, lookup, 2), QUANTD_TOKENS(function, lookup, 3),     \
        QUANTD_TOKENS(function, lookup, 4), QUANTD_TOKENS(function, lookup, 5), QUANTD_TOKENS(function, lookup, 6), \
        QUANTD_TOKENS(function, lookup, 7), QUANTD_TOKENS(function, lookup, 8)                                      \
  }

template <typename Lookup>
void MultiplyTileRounded(const PlaneArrays& arrays, int64_t tile, const RoundedTables& tables, int tokens, float* out,
                         int64_t out_stride) {
  using Function = void (*)(const PlaneArrays&, int64_t, const RoundedTables&, float*, int64_t);
  static constexpr Function kFunctions[kMaxPlanes][kMaxTokens] = QUANTD_PLANES(MultiplyTileRounded, Lookup);
  kFunctions[arrays.planes - 1][tokens - 1](arrays, tile, tables, out, out_stride);
}

}  // namespace
}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_PLANE_LOOPS_AVX512_H_
