// Inner loops of products with bit planes, one table per instruction set, and the memory that they walk through.
//
// A product needs, for every group of inputs and every plane, the sum of the inputs whose bit is set. Four inputs have
// 16 such sums: one table, built once per token and shared by all rows, that four bits of a row look up. No
// multiplication is left but those with scales and steps.
//
// The scalar table is the definition; the order of every sum is fixed (f32, no fused multiply-add), so that all tables
// give the same bits.
#ifndef QUANTD_CORE_COMPUTE_PLANE_KERNELS_H_
#define QUANTD_CORE_COMPUTE_PLANE_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "core/compute/execution_context.h"

namespace quantd {

inline constexpr int kMaxPlanes = 8;
inline constexpr int64_t kPlaneRows = 16;    // rows side by side in one line of bits: a block
inline constexpr int64_t kPlaneInputs = 32;  // consecutive inputs of each of them in that line
inline constexpr int64_t kTableInputs = 4;   // inputs of one table of sums
inline constexpr int64_t kTableSize = 16;
inline constexpr int64_t kLineTables = kPlaneInputs / kTableInputs;
inline constexpr int64_t kTileBlocks = 8;  // blocks of rows that share the tables of a span while they are in L1
inline constexpr int64_t kSpanLines = 8;   // lines of a span at most: its tables are 4 or 2 KiB a token
inline constexpr int kMaxTokens = 4;       // that one call multiplies, looking up the same bits

// A line is 64 bytes: for each of 16 rows a word whose bit k belongs to the line's k-th input. A span is a run of at
// most kSpanLines lines within one group. Lines lie in the order [tile of kTileBlocks
// blocks][span][block][line][plane], so that whoever multiplies whole tiles reads one stream. Rows and inputs that only
// fill up are zero bits.
struct PlaneArrays {
  int64_t rows = 0;
  int64_t blocks = 0;  // of rows
  int64_t lines = 0;   // of inputs
  int64_t groups = 0;
  int64_t group_lines = 0;  // lines of a group; the last may be shorter
  int planes = 0;
  bool signs = false;                     // PlaneScaling::kSigns
  bool wide_scales = false;               // f32, not f16: scales and alphas
  bool wide_bases = false;                // int16, not int8
  uint8_t shared_steps[kMaxPlanes] = {};  // where `steps` is null

  const uint32_t* bits = nullptr;
  const void* scales = nullptr;    // [blocks, groups, 16]: scales, or offsets with signs
  const void* alphas = nullptr;    // [blocks, groups, planes, 16] with signs
  const void* bases = nullptr;     // [blocks, groups, 16] unless signs
  const uint8_t* steps = nullptr;  // [blocks, groups, planes, 16]; null when shared

  int64_t tiles() const { return (blocks + kTileBlocks - 1) / kTileBlocks; }
  int64_t tile_blocks(int64_t tile) const { return std::min(kTileBlocks, blocks - tile * kTileBlocks); }
  // The word of (first row of `block`, first plane) in a line of a span [span_first, span_first + span_lines).
  int64_t LineOffset(int64_t block, int64_t line, int64_t span_first, int64_t span_lines) const {
    const int64_t tile = block / kTileBlocks;
    const int64_t before = tile * kTileBlocks * lines + tile_blocks(tile) * span_first;
    return (before + (block % kTileBlocks) * span_lines + (line - span_first)) * planes * kPlaneRows;
  }
};

struct PlaneSpan {
  int64_t group = 0;
  int64_t first = 0;  // line
  int64_t lines = 0;
};

// The span that begins at line `first`.
inline PlaneSpan SpanAt(const PlaneArrays& arrays, int64_t first) {
  const int64_t group = first / arrays.group_lines;
  const int64_t end = std::min((group + 1) * arrays.group_lines, arrays.lines);
  return {group, first, std::min(kSpanLines, end - first)};
}

// Tables of the rounded form take kRoundedLine int16 a line and token; their order is that of the kernels which build
// and read them.
inline constexpr int64_t kRoundedLine = kLineTables * kTableSize;
inline constexpr int kRoundedMax = 8191;  // magnitude of an input: four of them stay within int16

inline constexpr float kSmallestRounded = 0x1p-100f;  // largest inputs below it count as zeros

struct RoundedTables {
  const int16_t* tables;
  // [line, token], the span's in its first line.
  const float* quanta;  // input = quantum * integer
  const float* sums;    // of the span's integers
};

struct PlaneKernels {
  Isa isa;
  // Tables of `count` inputs (a multiple of kTableInputs) of token `token` among `tokens`:
  //   tables[t, token, s] = ((s & 1 ? x0 : 0) + (s & 2 ? x1 : 0)) + ((s & 4 ? x2 : 0) + (s & 8 ? x3 : 0))
  void (*build_tables)(const float* x, int64_t count, int token, int tokens, float* tables);
  // out[token * out_stride + r] = the product of the r-th row of `tile` with `tokens` <= kMaxTokens inputs. A span adds
  //   kIntegers: scale * (((base * sum) + step_0 * p_0) + step_1 * p_1 ...)
  //   kSigns:    offset * sum, then alpha_0 * (2 p_0 - sum), then alpha_1 * (2 p_1 - sum) ... one after the other
  // to the row's result, where p_i is the sum of what plane i looks up, table after table, and `sum` that of the last
  // entries of all tables.
  void (*multiply_tile)(const PlaneArrays& arrays, int64_t tile, const float* tables, int tokens, float* out,
                        int64_t out_stride);
  // Tables of one span's inputs. quantum = (largest magnitude) / kRoundedMax; the integers are the inputs times
  // (kRoundedMax / largest magnitude), rounded to nearest, half to even; all zero below kSmallestRounded. The inputs
  // are finite.
  void (*build_rounded_tables)(const float* x, int64_t lines, int token, int tokens, int16_t* tables, float* quantum,
                               float* sum);
  // As multiply_tile, where a span adds, P_i being the integer that plane i looks up,
  //   kIntegers: (scale * quantum) * (base * sum + (step_0 * P_0 + step_1 * P_1 ...))     the inner sum in integers
  //   kSigns:    (offset * quantum) * sum, then (alpha_0 * quantum) * (2 P_0 - sum) ... one after the other
  void (*multiply_tile_rounded)(const PlaneArrays& arrays, int64_t tile, const RoundedTables& tables, int tokens,
                                float* out, int64_t out_stride);
  // The row's values in the order of groups: lines * kPlaneInputs of them.
  void (*decode_row)(const PlaneArrays& arrays, int64_t row, float* out);
};

// The best table for `isa`, which CPU and operating system must support: ExecutionContext::isa() is such a one.
const PlaneKernels& PlaneKernelsFor(Isa isa);

const PlaneKernels& ScalarPlaneKernels();
const PlaneKernels& Avx2PlaneKernels();
const PlaneKernels& Avx512PlaneKernels();
const PlaneKernels& Avx512VbmiPlaneKernels();  // AVX-512 machines since 2018, but not all that Isa::kAvx512 admits

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_PLANE_KERNELS_H_
