#include "core/compute/plane_kernels.h"

#include <algorithm>
#include <cmath>

#include "core/tensor/dtype.h"

namespace quantd {
namespace {

float ScaleAt(bool wide, const void* scales, int64_t index) {
  return wide ? static_cast<const float*>(scales)[index] : F16ToF32(static_cast<const uint16_t*>(scales)[index]);
}

// Scaling of one row and group.
class RowScaling {
 public:
  RowScaling(const PlaneArrays& arrays, int64_t row, int64_t group)
      : a_(arrays), lane_(row % kPlaneRows), cell_(row / kPlaneRows * arrays.groups + group) {}

  float scale() const { return ScaleAt(a_.wide_scales, a_.scales, cell_ * kPlaneRows + lane_); }
  float base() const {
    const int64_t index = cell_ * kPlaneRows + lane_;
    return a_.wide_bases ? static_cast<const int16_t*>(a_.bases)[index] : static_cast<const int8_t*>(a_.bases)[index];
  }
  // Step, or alpha.
  float of_plane(int plane) const {
    const int64_t index = (cell_ * a_.planes + plane) * kPlaneRows + lane_;
    if (a_.signs) return ScaleAt(a_.wide_scales, a_.alphas, index);
    return a_.steps == nullptr ? a_.shared_steps[plane] : a_.steps[index];
  }

 private:
  const PlaneArrays& a_;
  int64_t lane_, cell_;
};

void BuildTables(const float* x, int64_t count, int token, int tokens, float* tables) {
  for (int64_t t = 0; t < count / kTableInputs; ++t) {
    const float* in = x + t * kTableInputs;
    float* table = tables + (t * tokens + token) * kTableSize;
    for (int s = 0; s < kTableSize; ++s) {
      table[s] = ((s & 1 ? in[0] : 0.0f) + (s & 2 ? in[1] : 0.0f)) + ((s & 4 ? in[2] : 0.0f) + (s & 8 ? in[3] : 0.0f));
    }
  }
}

struct Token {
  int index, count;
  const float* tables;
  float LookUp(int64_t table, uint32_t sums) const {
    return tables[(table * count + index) * kTableSize + (sums & (kTableSize - 1))];
  }
};

// Of one row, span and token.
float PlaneSum(const PlaneArrays& a, const PlaneSpan& span, int64_t row, int plane, const Token& token) {
  const uint32_t* words = a.bits + a.LineOffset(row / kPlaneRows, span.first, span.first, span.lines) +
                          plane * kPlaneRows + row % kPlaneRows;
  float sum = 0;
  for (int64_t line = 0; line < span.lines; ++line) {
    const uint32_t word = words[line * a.planes * kPlaneRows];
    for (int64_t t = 0; t < kLineTables; ++t) {
      sum += token.LookUp((span.first + line) * kLineTables + t, word >> (t * kTableInputs));
    }
  }
  return sum;
}

float InputSum(const PlaneSpan& span, const Token& token) {
  float sum = 0;
  for (int64_t t = 0; t < span.lines * kLineTables; ++t) {
    sum += token.LookUp(span.first * kLineTables + t, kTableSize - 1);
  }
  return sum;
}

float RowProduct(const PlaneArrays& a, int64_t row, const Token& token) {
  float result = 0;
  PlaneSpan span;
  for (int64_t line = 0; line < a.lines; line += span.lines) {
    span = SpanAt(a, line);
    const RowScaling scaling(a, row, span.group);
    const float inputs = InputSum(span, token);
    float integers = a.signs ? 0 : scaling.base() * inputs;
    if (a.signs) result += scaling.scale() * inputs;
    for (int plane = 0; plane < a.planes; ++plane) {
      const float sum = PlaneSum(a, span, row, plane, token);
      if (a.signs) {
        result += scaling.of_plane(plane) * (2 * sum - inputs);
      } else {
        integers += scaling.of_plane(plane) * sum;
      }
    }
    if (!a.signs) result += scaling.scale() * integers;
  }
  return result;
}

void MultiplyTile(const PlaneArrays& arrays, int64_t tile, const float* tables, int tokens, float* out,
                  int64_t out_stride) {
  const int64_t first = tile * kTileBlocks * kPlaneRows;
  const int64_t end = std::min(arrays.rows, first + kTileBlocks * kPlaneRows);
  for (int t = 0; t < tokens; ++t) {
    for (int64_t row = first; row < end; ++row) {
      out[t * out_stride + row - first] = RowProduct(arrays, row, {t, tokens, tables});
    }
  }
}

void BuildRoundedTables(const float* x, int64_t lines, int token, int tokens, int16_t* tables, float* quantum,
                        float* sum) {
  float largest = 0;
  for (int64_t i = 0; i < lines * kPlaneInputs; ++i) largest = std::max(largest, std::abs(x[i]));
  const bool zero = largest < kSmallestRounded;
  const float inverse = zero ? 0 : kRoundedMax / largest;
  *quantum = zero ? 0 : largest / kRoundedMax;
  int total = 0;
  for (int64_t t = 0; t < lines * kLineTables; ++t) {
    const float* in = x + t * kTableInputs;
    int16_t* table = tables + (t * tokens + token) * kTableSize;
    int integers[kTableInputs];
    for (int k = 0; k < kTableInputs; ++k) integers[k] = static_cast<int>(std::nearbyint(in[k] * inverse));
    for (int s = 0; s < kTableSize; ++s) {
      int entry = 0;
      for (int k = 0; k < kTableInputs; ++k) entry += s >> k & 1 ? integers[k] : 0;
      table[s] = static_cast<int16_t>(entry);
    }
    total += table[kTableSize - 1];
  }
  *sum = static_cast<float>(total);
}

// Of one row, span and token, in the rounded form.
int RoundedPlaneSum(const PlaneArrays& a, const PlaneSpan& span, int64_t row, int plane, int token, int tokens,
                    const int16_t* tables) {
  const uint32_t* words = a.bits + a.LineOffset(row / kPlaneRows, span.first, span.first, span.lines) +
                          plane * kPlaneRows + row % kPlaneRows;
  int sum = 0;
  for (int64_t line = 0; line < span.lines; ++line) {
    const uint32_t word = words[line * a.planes * kPlaneRows];
    for (int64_t t = 0; t < kLineTables; ++t) {
      const int16_t* table = tables + (((span.first + line) * kLineTables + t) * tokens + token) * kTableSize;
      sum += table[word >> (t * kTableInputs) & (kTableSize - 1)];
    }
  }
  return sum;
}

float RoundedRowProduct(const PlaneArrays& a, int64_t row, const RoundedTables& tables, int token, int tokens) {
  float result = 0;
  PlaneSpan span;
  for (int64_t line = 0; line < a.lines; line += span.lines) {
    span = SpanAt(a, line);
    const RowScaling scaling(a, row, span.group);
    const float quantum = tables.quanta[line * tokens + token];
    const float inputs = tables.sums[line * tokens + token];
    if (a.signs) result += scaling.scale() * quantum * inputs;
    int integers = 0;
    for (int plane = 0; plane < a.planes; ++plane) {
      const int sum = RoundedPlaneSum(a, span, row, plane, token, tokens, tables.tables);
      if (a.signs) {
        result += scaling.of_plane(plane) * quantum * static_cast<float>(2 * sum - static_cast<int>(inputs));
      } else {
        integers += static_cast<int>(scaling.of_plane(plane)) * sum;
      }
    }
    if (!a.signs) result += scaling.scale() * quantum * (scaling.base() * inputs + static_cast<float>(integers));
  }
  return result;
}

void MultiplyTileRounded(const PlaneArrays& arrays, int64_t tile, const RoundedTables& tables, int tokens, float* out,
                         int64_t out_stride) {
  const int64_t first = tile * kTileBlocks * kPlaneRows;
  const int64_t end = std::min(arrays.rows, first + kTileBlocks * kPlaneRows);
  for (int t = 0; t < tokens; ++t) {
    for (int64_t row = first; row < end; ++row) {
      out[t * out_stride + row - first] = RoundedRowProduct(arrays, row, tables, t, tokens);
    }
  }
}

void DecodeSpan(const PlaneArrays& a, const PlaneSpan& span, int64_t row, float* out) {
  const RowScaling scaling(a, row, span.group);
  const uint32_t* words =
      a.bits + a.LineOffset(row / kPlaneRows, span.first, span.first, span.lines) + row % kPlaneRows;
  for (int64_t i = 0; i < span.lines * kPlaneInputs; ++i) {
    float value = a.signs ? scaling.scale() : scaling.base();
    for (int plane = 0; plane < a.planes; ++plane) {
      const uint32_t word = words[(i / kPlaneInputs * a.planes + plane) * kPlaneRows];
      const bool set = (word >> (i % kPlaneInputs) & 1) != 0;
      if (a.signs) {
        value += set ? scaling.of_plane(plane) : -scaling.of_plane(plane);
      } else if (set) {
        value += scaling.of_plane(plane);
      }
    }
    out[i] = a.signs ? value : scaling.scale() * value;
  }
}

void DecodeRow(const PlaneArrays& arrays, int64_t row, float* out) {
  PlaneSpan span;
  for (int64_t line = 0; line < arrays.lines; line += span.lines) {
    span = SpanAt(arrays, line);
    DecodeSpan(arrays, span, row, out + line * kPlaneInputs);
  }
}

bool HasByteShuffles() {
  static const bool kHas = __builtin_cpu_supports("avx512vbmi") != 0;
  return kHas;
}

}  // namespace

const PlaneKernels& ScalarPlaneKernels() {
  static constexpr PlaneKernels kTable = {.isa = Isa::kScalar,
                                          .build_tables = &BuildTables,
                                          .multiply_tile = &MultiplyTile,
                                          .build_rounded_tables = &BuildRoundedTables,
                                          .multiply_tile_rounded = &MultiplyTileRounded,
                                          .decode_row = &DecodeRow};
  return kTable;
}

const PlaneKernels& PlaneKernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return HasByteShuffles() ? Avx512VbmiPlaneKernels() : Avx512PlaneKernels();
    case Isa::kAvx2:
      return Avx2PlaneKernels();
    case Isa::kScalar:
      break;
  }
  return ScalarPlaneKernels();
}

}  // namespace quantd
