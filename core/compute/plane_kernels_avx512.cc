// The tables of sums are one register each: a lane of VPERMPS looks up one row's sum by the low four bits of the row's
// word. Three words in four are shifted by a multiplication, because the units that permute also shift.
#include "core/compute/plane_loops_avx512.h"

namespace quantd {
namespace {

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
inline __attribute__((always_inline)) void AddScaled(const BlockScaling& scaling, bool signs, const float* input_sums,
                                                     const Sums<kPlanes, kTokens>& sums, float* results) {
  const __m512 scale = scaling.scale();
  __m512 total[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const __m512 inputs = _mm512_set1_ps(input_sums[t]);
    total[t] = signs ? _mm512_add_ps(_mm512_loadu_ps(results + t * kRegister), _mm512_mul_ps(scale, inputs))
                     : _mm512_mul_ps(_mm512_cvtepi32_ps(scaling.base()), inputs);
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPlanes; ++p) {
    const __m512 factor = signs ? scaling.alpha(p) : _mm512_cvtepi32_ps(scaling.step(p));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      __m512 sum = sums.plane[p][t];
      if (signs) sum = _mm512_sub_ps(_mm512_add_ps(sum, sum), _mm512_set1_ps(input_sums[t]));
      total[t] = _mm512_add_ps(total[t], _mm512_mul_ps(factor, sum));
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    float* const result = results + t * kRegister;
    if (!signs) total[t] = _mm512_add_ps(_mm512_loadu_ps(result), _mm512_mul_ps(scale, total[t]));
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

template <typename, int kPlanes, int kTokens>
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
      AddScaled<kPlanes, kTokens>(BlockScaling(a, first_block + b, span.group), a.signs, input_sums, sums, results[b]);
    }
  }
  StoreResults<kTokens>(a, tile, results[0], out, out_stride);
}

void MultiplyTile(const PlaneArrays& arrays, int64_t tile, const float* tables, int tokens, float* out,
                  int64_t out_stride) {
  using Function = void (*)(const PlaneArrays&, int64_t, const float*, float*, int64_t);
  static constexpr Function kFunctions[kMaxPlanes][kMaxTokens] = QUANTD_PLANES(MultiplyTile, void);
  kFunctions[arrays.planes - 1][tokens - 1](arrays, tile, tables, out, out_stride);
}

// A table of eight inputs is one register of 16-bit sums: the lower half of a row's word looks up entries below 16, the
// upper half the others, and VPDPWSSD adds both to the row's sum.
struct WordLookup {
  static void StoreTables(__m512i inputs, int token, int tokens, int16_t* tables) {
    for (int t = 0; t < kTables; ++t) {
      _mm512_storeu_si512(tables + (t * tokens + token) * kSize, SumsOfFour(inputs, 4 * t, 4 * t + 16));
    }
  }

  template <int kPlanes, int kTokens>
  static __attribute__((always_inline)) void AddLine(const __m512i (&words)[kPlanes], const int16_t* tables,
                                                     RoundedSums<kPlanes, kTokens>& sums) {
    AddTable<0>(words, tables, sums);
    AddTable<1>(words, tables, sums);
    AddTable<2>(words, tables, sums);
    AddTable<3>(words, tables, sums);
  }

  static __m512i Sum(const __m512i (&sums)[2]) { return _mm512_add_epi32(sums[0], sums[1]); }

 private:
  static constexpr int kTables = 4;
  static constexpr int64_t kSize = 32;

  // Tables go to two registers in turn, so that none waits for the one before.
  template <int kTable, int kPlanes, int kTokens>
  static __attribute__((always_inline)) void AddTable(const __m512i (&words)[kPlanes], const int16_t* tables,
                                                      RoundedSums<kPlanes, kTokens>& sums) {
    const __m512i low_bits = _mm512_set1_epi16(15);
    const __m512i upper_half = _mm512_set1_epi32(16 << 16);
#pragma GCC unroll 8
    for (int p = 0; p < kPlanes; ++p) {
      __m512i index = words[p];
      if constexpr (kTable > 0)
        index = _mm512_mulhi_epu16(index, _mm512_set1_epi16(static_cast<int16_t>(1 << (16 - 4 * kTable))));
      index = _mm512_ternarylogic_epi32(index, low_bits, upper_half, 0xEA);  // (index & 15) | 16 in the upper half
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512i table = _mm512_loadu_si512(tables + (kTable * kTokens + t) * kSize);
        __m512i& sum = sums.plane[p][t][kTable % 2];
        sum = _mm512_dpwssd_epi32(sum, _mm512_permutexvar_epi16(index, table), _mm512_set1_epi16(1));
      }
    }
  }
};

// Sixteen inputs of one row at a time, their bits as masks.
void DecodeSpan(const PlaneArrays& a, const PlaneSpan& span, int64_t row, float* out) {
  const int64_t lane = row % kPlaneRows;
  const BlockScaling scaling(a, row / kPlaneRows, span.group);
  const auto of_row = [lane](__m512 lanes) {
    return _mm512_permutexvar_ps(_mm512_set1_epi32(static_cast<int>(lane)), lanes);
  };
  const __m512 scale = of_row(scaling.scale());
  const __m512 base = a.signs ? scale : of_row(_mm512_cvtepi32_ps(scaling.base()));
  __m512 steps[kMaxPlanes];
  for (int p = 0; p < a.planes; ++p) {
    steps[p] = of_row(a.signs ? scaling.alpha(p) : _mm512_cvtepi32_ps(scaling.step(p)));
  }
  const uint32_t* words = a.bits + a.LineOffset(row / kPlaneRows, span.first, span.first, span.lines) + lane;
  for (int64_t line = 0; line < span.lines; ++line, words += a.planes * kPlaneRows) {
    for (int half = 0; half < 2; ++half) {
      __m512 value = base;
      for (int p = 0; p < a.planes; ++p) {
        const auto set = static_cast<__mmask16>(words[p * kPlaneRows] >> (half * kRegister));
        if (a.signs) value = _mm512_mask_sub_ps(value, static_cast<__mmask16>(~set), value, steps[p]);
        value = _mm512_mask_add_ps(value, set, value, steps[p]);
      }
      _mm512_storeu_ps(out + line * kPlaneInputs + half * kRegister, a.signs ? value : _mm512_mul_ps(scale, value));
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
                                          .build_rounded_tables = &BuildRoundedTables<WordLookup>,
                                          .multiply_tile_rounded = &MultiplyTileRounded<WordLookup>,
                                          .decode_row = &DecodeRow};
  return kTable;
}

}  // namespace quantd
