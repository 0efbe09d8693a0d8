// A table of 16 sums is two registers: a lane of VPERMPS looks up one row's sum in each by three bits of the row's
// word, and the fourth bit chooses.
#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "core/compute/plane_kernels.h"

namespace quantd {
namespace {

constexpr int64_t kRegister = 8;
constexpr int kHalves = 2;  // registers for the rows of a block
static_assert(kRegister * kHalves == kPlaneRows);

inline __m256 LoadScales(bool wide, const void* scales, int64_t index) {
  if (wide) return _mm256_loadu_ps(static_cast<const float*>(scales) + index);
  const uint16_t* halves = static_cast<const uint16_t*>(scales) + index;
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
}

inline __m256i LoadBytes(const void* bytes, int64_t index, bool has_sign) {
  const __m128i loaded = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(static_cast<const char*>(bytes) + index));
  return has_sign ? _mm256_cvtepi8_epi32(loaded) : _mm256_cvtepu8_epi32(loaded);
}

// Of eight rows of a block in one group.
class HalfScaling {
 public:
  HalfScaling(const PlaneArrays& arrays, int64_t block, int64_t group, int half)
      : a_(arrays), cell_(block * arrays.groups + group), first_(half * kRegister) {}

  __m256 scale() const { return LoadScales(a_.wide_scales, a_.scales, cell_ * kPlaneRows + first_); }
  __m256 base() const {
    const int64_t index = cell_ * kPlaneRows + first_;
    if (!a_.wide_bases) return _mm256_cvtepi32_ps(LoadBytes(a_.bases, index, true));
    const int16_t* bases = static_cast<const int16_t*>(a_.bases) + index;
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bases))));
  }
  __m256i step(int plane) const {
    if (a_.steps == nullptr) return _mm256_set1_epi32(a_.shared_steps[plane]);
    return LoadBytes(a_.steps, IndexOf(plane), false);
  }
  __m256 alpha(int plane) const { return LoadScales(a_.wide_scales, a_.alphas, IndexOf(plane)); }
  __m256 factor(int plane) const { return a_.signs ? alpha(plane) : _mm256_cvtepi32_ps(step(plane)); }

 private:
  int64_t IndexOf(int plane) const { return (cell_ * a_.planes + plane) * kPlaneRows + first_; }

  const PlaneArrays& a_;
  int64_t cell_, first_;
};

// (lanes 0, 1, 0+1 of x0, x1) + (the same of x2, x3), with zeros where a bit is clear.
void BuildTables(const float* x, int64_t count, int token, int tokens, float* tables) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const auto bit = [&](int k) {
    const __m256i one = _mm256_set1_epi32(1 << k);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(lanes, one), one));
  };
  const __m256 bit0 = bit(0), bit1 = bit(1), bit2 = bit(2);
  for (int64_t t = 0; t < count / kTableInputs; ++t) {
    const float* in = x + t * kTableInputs;
    float* table = tables + (t * tokens + token) * kTableSize;
    const __m256 low =
        _mm256_add_ps(_mm256_and_ps(bit0, _mm256_set1_ps(in[0])), _mm256_and_ps(bit1, _mm256_set1_ps(in[1])));
    const __m256 third = _mm256_and_ps(bit2, _mm256_set1_ps(in[2]));
    _mm256_storeu_ps(table, _mm256_add_ps(low, _mm256_add_ps(third, _mm256_setzero_ps())));
    _mm256_storeu_ps(table + kRegister, _mm256_add_ps(low, _mm256_add_ps(third, _mm256_set1_ps(in[3]))));
  }
}

inline __m256 LookUp(__m256i words, const float* table) {
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), words);
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + kRegister), words);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(words, 28)));
}

inline __m256i LookUp(__m256i words, const int16_t* table) {
  const auto wide = [](const int16_t* from) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  };
  const __m256i low = _mm256_permutevar8x32_epi32(wide(table), words);
  const __m256i high = _mm256_permutevar8x32_epi32(wide(table + kRegister), words);
  return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high),
                                              _mm256_castsi256_ps(_mm256_slli_epi32(words, 28))));
}

inline void Add(__m256& sum, __m256 term) {
  sum = _mm256_add_ps(sum, term);
}
inline void Add(__m256i& sum, __m256i term) {
  sum = _mm256_add_epi32(sum, term);
}

// The lookups of one plane, half block and token; `words` of the span's first line, tables of its first input.
template <typename Vector, typename Entry>
inline Vector SpanSum(const PlaneArrays& a, const uint32_t* words, int64_t lines, const Entry* tables,
                      int64_t table_stride) {
  Vector sum = {};
  for (int64_t line = 0; line < lines; ++line, words += a.planes * kPlaneRows) {
    __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
    for (int64_t t = 0; t < kLineTables; ++t, tables += table_stride) {
      Add(sum, LookUp(bits, tables));
      bits = _mm256_srli_epi32(bits, 4);
    }
  }
  return sum;
}

// What walking a tile needs to know of one half block in one span.
struct HalfSpan {
  const PlaneArrays& arrays;
  PlaneSpan span;
  HalfScaling scaling;
  const uint32_t* words;
};

// result += what the span adds to eight rows. `tables` of this token's first input of the span.
void AddExact(const HalfSpan& at, const float* tables, int64_t table_stride, float inputs, float* results) {
  const PlaneArrays& a = at.arrays;
  const __m256 scale = at.scaling.scale();
  const __m256 sum = _mm256_set1_ps(inputs);
  const __m256 before = _mm256_loadu_ps(results);
  __m256 total = a.signs ? _mm256_add_ps(before, _mm256_mul_ps(scale, sum)) : _mm256_mul_ps(at.scaling.base(), sum);
  for (int p = 0; p < a.planes; ++p) {
    auto plane = SpanSum<__m256>(a, at.words + p * kPlaneRows, at.span.lines, tables, table_stride);
    if (a.signs) plane = _mm256_sub_ps(_mm256_add_ps(plane, plane), sum);
    total = _mm256_add_ps(total, _mm256_mul_ps(at.scaling.factor(p), plane));
  }
  _mm256_storeu_ps(results, a.signs ? total : _mm256_add_ps(before, _mm256_mul_ps(scale, total)));
}

struct RoundedSpan {
  float quantum, sum;
};

void AddRounded(const HalfSpan& at, const int16_t* tables, int64_t table_stride, RoundedSpan inputs, float* results) {
  const PlaneArrays& a = at.arrays;
  const __m256 quantum = _mm256_set1_ps(inputs.quantum);
  const __m256 sum = _mm256_set1_ps(inputs.sum);
  const __m256 factor = _mm256_mul_ps(at.scaling.scale(), quantum);
  __m256 result = _mm256_loadu_ps(results);
  __m256i integers = _mm256_setzero_si256();
  if (a.signs) result = _mm256_add_ps(result, _mm256_mul_ps(factor, sum));
  for (int p = 0; p < a.planes; ++p) {
    const auto plane = SpanSum<__m256i>(a, at.words + p * kPlaneRows, at.span.lines, tables, table_stride);
    if (a.signs) {
      const __m256i signed_sum = _mm256_sub_epi32(_mm256_add_epi32(plane, plane), _mm256_cvtps_epi32(sum));
      const __m256 alpha = _mm256_mul_ps(at.scaling.alpha(p), quantum);
      result = _mm256_add_ps(result, _mm256_mul_ps(alpha, _mm256_cvtepi32_ps(signed_sum)));
    } else {
      integers = _mm256_add_epi32(integers, _mm256_mullo_epi32(at.scaling.step(p), plane));
    }
  }
  if (!a.signs) {
    const __m256 base = _mm256_mul_ps(at.scaling.base(), sum);
    result = _mm256_add_ps(result, _mm256_mul_ps(factor, _mm256_add_ps(base, _mm256_cvtepi32_ps(integers))));
  }
  _mm256_storeu_ps(results, result);
}

// body(what to add, rows from the tile's first) for every span and half block.
template <typename Body>
void ForHalfSpans(const PlaneArrays& a, int64_t tile, const Body& body) {
  PlaneSpan span;
  for (int64_t first = 0; first < a.lines; first += span.lines) {
    span = SpanAt(a, first);
    for (int64_t b = 0; b < a.tile_blocks(tile); ++b) {
      const int64_t block = tile * kTileBlocks + b;
      const uint32_t* words = a.bits + a.LineOffset(block, first, first, span.lines);
      for (int half = 0; half < kHalves; ++half) {
        body(HalfSpan{a, span, HalfScaling(a, block, span.group, half), words + half * kRegister},
             b * kPlaneRows + half * kRegister);
      }
    }
  }
}

constexpr int64_t kTileRows = kTileBlocks * kPlaneRows;

void StoreResults(const PlaneArrays& a, int64_t tile, const float* results, float* out) {
  std::copy_n(results, std::min(kTileRows, a.rows - tile * kTileRows), out);
}

void MultiplyTile(const PlaneArrays& a, int64_t tile, const float* tables, int tokens, float* out, int64_t out_stride) {
  const int64_t stride = tokens * kTableSize;
  for (int token = 0; token < tokens; ++token) {
    float results[kTileRows] = {};
    int64_t summed = -1;
    float inputs = 0;
    ForHalfSpans(a, tile, [&](const HalfSpan& at, int64_t row) {
      const float* of_span = tables + at.span.first * kLineTables * stride + token * kTableSize;
      if (summed != at.span.first) {
        inputs = 0;
        for (int64_t t = 0; t < at.span.lines * kLineTables; ++t) inputs += of_span[t * stride + kTableSize - 1];
        summed = at.span.first;
      }
      AddExact(at, of_span, stride, inputs, results + row);
    });
    StoreResults(a, tile, results, out + token * out_stride);
  }
}

void MultiplyTileRounded(const PlaneArrays& a, int64_t tile, const RoundedTables& tables, int tokens, float* out,
                         int64_t out_stride) {
  const int64_t stride = tokens * kTableSize;
  for (int token = 0; token < tokens; ++token) {
    float results[kTileRows] = {};
    ForHalfSpans(a, tile, [&](const HalfSpan& at, int64_t row) {
      const int64_t cell = at.span.first * tokens + token;
      const int16_t* of_span = tables.tables + at.span.first * kLineTables * stride + token * kTableSize;
      AddRounded(at, of_span, stride, {tables.quanta[cell], tables.sums[cell]}, results + row);
    });
    StoreResults(a, tile, results, out + token * out_stride);
  }
}

}  // namespace

const PlaneKernels& Avx2PlaneKernels() {
  static const PlaneKernels kTable = {.isa = Isa::kAvx2,
                                      .build_tables = &BuildTables,
                                      .multiply_tile = &MultiplyTile,
                                      .build_rounded_tables = ScalarPlaneKernels().build_rounded_tables,
                                      .multiply_tile_rounded = &MultiplyTileRounded,
                                      .decode_row = ScalarPlaneKernels().decode_row};
  return kTable;
}

}  // namespace quantd
