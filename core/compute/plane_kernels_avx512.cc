// The tables of sums are one register each: a lane of VPERMPS looks up one row's sum by the low four bits of the row's
// word. Three words in four are shifted by a multiplication, because the units that permute also shift.
// GCC 12 takes the undefined operands of its own intrinsics for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>

#include "core/compute/plane_kernels.h"

namespace quantd {
namespace {

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

// (lanes 0, 1, 0+1 of x0, x1) + (the same of x2, x3), with zeros where a bit is clear.
void BuildTables(const float* x, int64_t count, int token, int tokens, float* tables) {
  const __m512 zero = _mm512_setzero_ps();
  for (int64_t t = 0; t < count / kTableInputs; ++t) {
    const float* in = x + t * kTableInputs;
    const __m512 low = _mm512_add_ps(_mm512_mask_mov_ps(zero, 0xAAAA, _mm512_set1_ps(in[0])),
                                     _mm512_mask_mov_ps(zero, 0xCCCC, _mm512_set1_ps(in[1])));
    const __m512 high = _mm512_add_ps(_mm512_mask_mov_ps(zero, 0xF0F0, _mm512_set1_ps(in[2])),
                                      _mm512_mask_mov_ps(zero, 0xFF00, _mm512_set1_ps(in[3])));
    _mm512_storeu_ps(tables + (t * tokens + token) * kTableSize, _mm512_add_ps(low, high));
  }
}

// The words of every plane of a line, so far shifted that their low four bits are those of table `kTable`.
template <int kTable>
inline __m512i Shifted(__m512i words, __m512i upper) {
  if constexpr (kTable == 0) return words;
  if constexpr (kTable == 4) return upper;
  return _mm512_mulhi_epu16(kTable < 4 ? words : upper,
                            _mm512_set1_epi16(static_cast<int16_t>(1 << (16 - kTable % 4 * 4))));
}

template <int kPlanes, int kTokens>
struct Sums {
  __m512 plane[kPlanes][kTokens];
};

template <int kTable, int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddTable(const __m512i* words, const __m512i* upper, const float* tables,
                                                    Sums<kPlanes, kTokens>& sums) {
  __m512 table[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) table[t] = _mm512_loadu_ps(tables + (kTable * kTokens + t) * kTableSize);
#pragma GCC unroll 8
  for (int p = 0; p < kPlanes; ++p) {
    const __m512i index = Shifted<kTable>(words[p], upper[p]);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      sums.plane[p][t] = _mm512_add_ps(sums.plane[p][t], _mm512_permutexvar_ps(index, table[t]));
    }
  }
}

template <int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddLine(const uint32_t* bits, const float* tables,
                                                   Sums<kPlanes, kTokens>& sums) {
  __m512i words[kPlanes], upper[kPlanes];
#pragma GCC unroll 8
  for (int p = 0; p < kPlanes; ++p) {
    words[p] = _mm512_loadu_si512(bits + p * kPlaneRows);
    upper[p] = _mm512_srli_epi32(words[p], 16);
  }
  AddTable<0>(words, upper, tables, sums);
  AddTable<1>(words, upper, tables, sums);
  AddTable<2>(words, upper, tables, sums);
  AddTable<3>(words, upper, tables, sums);
  AddTable<4>(words, upper, tables, sums);
  AddTable<5>(words, upper, tables, sums);
  AddTable<6>(words, upper, tables, sums);
  AddTable<7>(words, upper, tables, sums);
}

// result += what the span adds to the rows of a block.
template <int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddScaled(const BlockScaling& scaling, bool free, const float* input_sums,
                                                     const Sums<kPlanes, kTokens>& sums, float* results) {
  const __m512 scale = scaling.scale();
  __m512 total[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const __m512 inputs = _mm512_set1_ps(input_sums[t]);
    total[t] = free ? _mm512_add_ps(_mm512_loadu_ps(results + t * kRegister), _mm512_mul_ps(scale, inputs))
                    : _mm512_mul_ps(_mm512_cvtepi32_ps(scaling.base()), inputs);
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPlanes; ++p) {
    const __m512 factor = free ? scaling.alpha(p) : _mm512_cvtepi32_ps(scaling.step(p));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) total[t] = _mm512_add_ps(total[t], _mm512_mul_ps(factor, sums.plane[p][t]));
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    float* const result = results + t * kRegister;
    if (!free) total[t] = _mm512_add_ps(_mm512_loadu_ps(result), _mm512_mul_ps(scale, total[t]));
    _mm512_storeu_ps(result, total[t]);
  }
}

template <int kTokens>
void SumInputs(const float* tables, int64_t count, float* sums) {
  for (int t = 0; t < kTokens; ++t) {
    float sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += tables[(i * kTokens + t) * kTableSize + kTableSize - 1];
    sums[t] = sum;
  }
}

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

template <int kPlanes, int kTokens>
void MultiplyTile(const PlaneArrays& a, int64_t tile, const float* tables, float* out, int64_t out_stride) {
  const int64_t first_block = tile * kTileBlocks;
  const int64_t blocks = a.tile_blocks(tile);
  float results[kTileBlocks][kTokens * kRegister] = {};
  PlaneSpan span;
  for (int64_t first = 0; first < a.lines; first += span.lines) {
    span = SpanAt(a, first);
    const float* const span_tables = tables + first * kLineTables * kTokens * kTableSize;
    float input_sums[kTokens];
    SumInputs<kTokens>(span_tables, span.lines * kLineTables, input_sums);
    const uint32_t* bits = a.bits + a.LineOffset(first_block, first, first, span.lines);
    for (int64_t b = 0; b < blocks; ++b) {
      Sums<kPlanes, kTokens> sums = {};
      for (int64_t line = 0; line < span.lines; ++line, bits += kPlanes * kPlaneRows) {
        AddLine<kPlanes, kTokens>(bits, span_tables + line * kLineTables * kTokens * kTableSize, sums);
      }
      AddScaled<kPlanes, kTokens>(BlockScaling(a, first_block + b, span.group), a.free, input_sums, sums, results[b]);
    }
  }
  StoreResults<kTokens>(a, tile, results[0], out, out_stride);
}

// Integers of a line's inputs, in order.
inline __m512i RoundedLine(const float* x, __m512 inverse) {
  const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse));
  const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + kRegister), inverse));
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)), _mm512_cvtepi32_epi16(high), 1);
}

// Lanes 0..15 hold input `first` of the line where their bit is set, lanes 16..31 input `first` + 16.
inline __m512i Spread(__m512i inputs, int first, __mmask32 bits) {
  const __m512i which = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi16(static_cast<int16_t>(first))),
                                           _mm256_set1_epi16(static_cast<int16_t>(first + 16)), 1);
  return _mm512_maskz_permutexvar_epi16(bits, which, inputs);
}

void BuildRoundedTables(const float* x, int64_t lines, int token, int tokens, int16_t* tables, float* quantum,
                        float* sum) {
  __m512 magnitudes = _mm512_setzero_ps();
  for (int64_t i = 0; i < lines * kPlaneInputs; i += kRegister) {
    magnitudes = _mm512_max_ps(magnitudes, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
  }
  const float largest = _mm512_reduce_max_ps(magnitudes);
  const bool zero = largest < kSmallestRounded;
  *quantum = zero ? 0 : largest / kRoundedMax;
  const __m512 inverse = _mm512_set1_ps(zero ? 0 : kRoundedMax / largest);
  __m512i total = _mm512_setzero_si512();
  const __m512i ones = _mm512_set1_epi16(1);
  for (int64_t line = 0; line < lines; ++line) {
    const __m512i inputs = RoundedLine(x + line * kPlaneInputs, inverse);
    total = _mm512_dpwssd_epi32(total, inputs, ones);
#pragma GCC unroll 4
    for (int t = 0; t < kRoundedTables; ++t) {
      const __m512i low = _mm512_add_epi16(Spread(inputs, 4 * t, 0xAAAAAAAA), Spread(inputs, 4 * t + 1, 0xCCCCCCCC));
      const __m512i high =
          _mm512_add_epi16(Spread(inputs, 4 * t + 2, 0xF0F0F0F0), Spread(inputs, 4 * t + 3, 0xFF00FF00));
      _mm512_storeu_si512(tables + ((line * kRoundedTables + t) * tokens + token) * kRoundedSize,
                          _mm512_add_epi16(low, high));
    }
  }
  *sum = static_cast<float>(_mm512_reduce_add_epi32(total));
}

// Lookups of one plane and token go to two registers in turn, so that none waits for the one before.
template <int kPlanes, int kTokens>
struct RoundedSums {
  __m512i plane[kPlanes][kTokens][2];
};

template <int kTable, int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddRoundedTable(const __m512i* words, const int16_t* tables,
                                                           RoundedSums<kPlanes, kTokens>& sums) {
  const __m512i low_bits = _mm512_set1_epi16(15);
  const __m512i upper_half = _mm512_set1_epi32(16 << 16);
  __m512i table[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) table[t] = _mm512_loadu_si512(tables + (kTable * kTokens + t) * kRoundedSize);
#pragma GCC unroll 8
  for (int p = 0; p < kPlanes; ++p) {
    __m512i index = words[p];
    if constexpr (kTable > 0)
      index = _mm512_mulhi_epu16(index, _mm512_set1_epi16(static_cast<int16_t>(1 << (16 - 4 * kTable))));
    index = _mm512_ternarylogic_epi32(index, low_bits, upper_half, 0xEA);  // (index & 15) | upper half's 16
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      __m512i& sum = sums.plane[p][t][kTable % 2];
      sum = _mm512_dpwssd_epi32(sum, _mm512_permutexvar_epi16(index, table[t]), _mm512_set1_epi16(1));
    }
  }
}

template <int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddRoundedLine(const uint32_t* bits, const int16_t* tables,
                                                          RoundedSums<kPlanes, kTokens>& sums) {
  __m512i words[kPlanes];
#pragma GCC unroll 8
  for (int p = 0; p < kPlanes; ++p) {
    words[p] = _mm512_loadu_si512(bits + p * kPlaneRows);
  }
  AddRoundedTable<0>(words, tables, sums);
  AddRoundedTable<1>(words, tables, sums);
  AddRoundedTable<2>(words, tables, sums);
  AddRoundedTable<3>(words, tables, sums);
}

template <int kPlanes, int kTokens>
inline __attribute__((always_inline)) void AddRoundedScaled(const BlockScaling& scaling, bool free, const float* quanta,
                                                            const float* input_sums,
                                                            const RoundedSums<kPlanes, kTokens>& sums, float* results) {
  const __m512 scale = scaling.scale();
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const __m512 quantum = _mm512_set1_ps(quanta[t]);
    const __m512 inputs = _mm512_set1_ps(input_sums[t]);
    const __m512 factor = _mm512_mul_ps(scale, quantum);
    __m512 result = _mm512_loadu_ps(results + t * kRegister);
    __m512i integers = _mm512_setzero_si512();
    if (free) result = _mm512_add_ps(result, _mm512_mul_ps(factor, inputs));
#pragma GCC unroll 8
    for (int p = 0; p < kPlanes; ++p) {
      const __m512i sum = _mm512_add_epi32(sums.plane[p][t][0], sums.plane[p][t][1]);
      if (free) {
        const __m512 alpha = _mm512_mul_ps(scaling.alpha(p), quantum);
        result = _mm512_add_ps(result, _mm512_mul_ps(alpha, _mm512_cvtepi32_ps(sum)));
      } else {
        integers = _mm512_add_epi32(integers, _mm512_mullo_epi32(scaling.step(p), sum));
      }
    }
    if (!free) {
      const __m512 base = _mm512_mul_ps(_mm512_cvtepi32_ps(scaling.base()), inputs);
      result = _mm512_add_ps(result, _mm512_mul_ps(factor, _mm512_add_ps(base, _mm512_cvtepi32_ps(integers))));
    }
    _mm512_storeu_ps(results + t * kRegister, result);
  }
}

template <int kPlanes, int kTokens>
void MultiplyTileRounded(const PlaneArrays& a, int64_t tile, const RoundedTables& tables, float* out,
                         int64_t out_stride) {
  const int64_t first_block = tile * kTileBlocks;
  const int64_t blocks = a.tile_blocks(tile);
  float results[kTileBlocks][kTokens * kRegister] = {};
  constexpr int64_t kLineSize = kRoundedTables * kTokens * kRoundedSize;
  PlaneSpan span;
  for (int64_t first = 0; first < a.lines; first += span.lines) {
    span = SpanAt(a, first);
    const int16_t* const span_tables = tables.tables + first * kLineSize;
    const uint32_t* bits = a.bits + a.LineOffset(first_block, first, first, span.lines);
    for (int64_t b = 0; b < blocks; ++b) {
      RoundedSums<kPlanes, kTokens> sums = {};
      for (int64_t line = 0; line < span.lines; ++line, bits += kPlanes * kPlaneRows) {
        AddRoundedLine<kPlanes, kTokens>(bits, span_tables + line * kLineSize, sums);
      }
      AddRoundedScaled<kPlanes, kTokens>(BlockScaling(a, first_block + b, span.group), a.free,
                                         tables.quanta + first * kTokens, tables.sums + first * kTokens, sums,
                                         results[b]);
    }
  }
  StoreResults<kTokens>(a, tile, results[0], out, out_stride);
}

#define QUANTD_TOKENS(function, planes) \
  { &function<planes, 1>, &function<planes, 2>, &function<planes, 3>, &function<planes, 4> }
#define QUANTD_PLANES(function)                                                                                        \
  {                                                                                                                    \
    QUANTD_TOKENS(function, 1), QUANTD_TOKENS(function, 2), QUANTD_TOKENS(function, 3), QUANTD_TOKENS(function, 4),    \
        QUANTD_TOKENS(function, 5), QUANTD_TOKENS(function, 6), QUANTD_TOKENS(function, 7), QUANTD_TOKENS(function, 8) \
  }

void MultiplyTile(const PlaneArrays& arrays, int64_t tile, const float* tables, int tokens, float* out,
                  int64_t out_stride) {
  using Function = void (*)(const PlaneArrays&, int64_t, const float*, float*, int64_t);
  static constexpr Function kFunctions[kMaxPlanes][kMaxTokens] = QUANTD_PLANES(MultiplyTile);
  kFunctions[arrays.planes - 1][tokens - 1](arrays, tile, tables, out, out_stride);
}

void MultiplyTileRounded(const PlaneArrays& arrays, int64_t tile, const RoundedTables& tables, int tokens, float* out,
                         int64_t out_stride) {
  using Function = void (*)(const PlaneArrays&, int64_t, const RoundedTables&, float*, int64_t);
  static constexpr Function kFunctions[kMaxPlanes][kMaxTokens] = QUANTD_PLANES(MultiplyTileRounded);
  kFunctions[arrays.planes - 1][tokens - 1](arrays, tile, tables, out, out_stride);
}

#undef QUANTD_PLANES
#undef QUANTD_TOKENS

// Sixteen inputs of one row at a time, their bits as masks.
void DecodeSpan(const PlaneArrays& a, const PlaneSpan& span, int64_t row, float* out) {
  const int64_t lane = row % kPlaneRows;
  const BlockScaling scaling(a, row / kPlaneRows, span.group);
  const auto of_row = [lane](__m512 lanes) {
    return _mm512_permutexvar_ps(_mm512_set1_epi32(static_cast<int>(lane)), lanes);
  };
  const __m512 scale = of_row(scaling.scale());
  const __m512 base = a.free ? scale : of_row(_mm512_cvtepi32_ps(scaling.base()));
  __m512 steps[kMaxPlanes];
  for (int p = 0; p < a.planes; ++p) {
    steps[p] = of_row(a.free ? scaling.alpha(p) : _mm512_cvtepi32_ps(scaling.step(p)));
  }
  const uint32_t* words = a.bits + a.LineOffset(row / kPlaneRows, span.first, span.first, span.lines) + lane;
  for (int64_t line = 0; line < span.lines; ++line, words += a.planes * kPlaneRows) {
    for (int half = 0; half < 2; ++half) {
      __m512 value = base;
      for (int p = 0; p < a.planes; ++p) {
        const auto set = static_cast<__mmask16>(words[p * kPlaneRows] >> (half * kRegister));
        value = _mm512_mask_add_ps(value, set, value, steps[p]);
      }
      _mm512_storeu_ps(out + line * kPlaneInputs + half * kRegister, a.free ? value : _mm512_mul_ps(scale, value));
    }
  }
}

void DecodeRow(const PlaneArrays& arrays, int64_t row, float* out) {
  PlaneSpan span;
  for (int64_t line = 0; line < arrays.lines; line += span.lines) {
    span = SpanAt(arrays, line);
    DecodeSpan(arrays, span, row, out + line * kPlaneInputs);
  }
}

}  // namespace

const PlaneKernels& Avx512PlaneKernels() {
  static constexpr PlaneKernels kTable = {.isa = Isa::kAvx512,
                                          .build_tables = &BuildTables,
                                          .multiply_tile = &MultiplyTile,
                                          .build_rounded_tables = &BuildRoundedTables,
                                          .multiply_tile_rounded = &MultiplyTileRounded,
                                          .decode_row = &DecodeRow};
  return kTable;
}

}  // namespace quantd
