// Weights of a few bits as bit planes, the form in which they are multiplied at run time without being decoded:
//
//   value[r, c] = scale[r, g] * (base[r, g] + sum over planes i of step[r, g, i] * bit_i[r, c])     kIntegers
//   value[r, c] = offset[r, g] + sum over planes i of (bit_i[r, c] ? alpha[r, g, i] : -alpha[r, g, i])     kSigns
//
// with g the group of column c. kIntegers holds uniform grids (steps 1, 2, 4, ...; base = -zero) and the binary coding
// of integers (GPTQT) exactly; kSigns holds any binary coding (BCQ).
//
//   ASSIGN_OR_RETURN(BinaryPlanesBuilder builder, BinaryPlanesBuilder::Create(layout));
//   for (int64_t r = 0; r < rows; ++r) builder.SetRow(r, row);          // any order, each row once
//   const BinaryPlanes weight = std::move(builder).Build();
//
// Memory: one bit a plane and weight, rows rounded up to 16 and columns to 32, and the scaling in the types that
// PlaneRow names.
#ifndef QUANTD_CORE_COMPUTE_BINARY_PLANES_H_
#define QUANTD_CORE_COMPUTE_BINARY_PLANES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/zeroed_buffer.h"
#include "core/compute/plane_kernels.h"
#include "core/tensor/dtype.h"
#include "core/tensor/matrix.h"

namespace quantd {

enum class PlaneScaling { kIntegers, kSigns };

struct PlanesLayout {
  int64_t rows = 0;
  int64_t cols = 0;
  int planes = 0;          // 1..kMaxPlanes
  int64_t group_size = 0;  // inputs that share scaling: a multiple of kPlaneInputs, or cols and more for one group
  PlaneScaling scaling = PlaneScaling::kIntegers;
  Dtype scale_dtype = Dtype::kF16;  // F16 or F32: scales, or alphas and offsets
  bool wide_bases = false;          // kIntegers: bases take 2 bytes each (any int16) and not 1 (-128..127)
  // kIntegers: the steps of all rows and groups, [planes]; empty: every row brings its own.
  std::vector<uint8_t> shared_steps = {};
  // Where groups are not runs of neighbouring columns: the i-th input in the order of groups is column
  // column_order[i]. A permutation of 0..cols-1; empty: columns in their own order.
  std::vector<int32_t> column_order = {};

  int64_t groups() const;
};

// One row as it is handed in. Scales, alphas and offsets must be finite and exact in scale_dtype.
struct PlaneRow {
  absl::Span<const uint8_t> codes;  // [cols], columns in their own order; bit i of a code is that of plane i
  absl::Span<const float> scales;   // kIntegers: [groups]
  absl::Span<const int16_t> bases;  // kIntegers: [groups]
  absl::Span<const uint8_t> steps;  // kIntegers without shared steps: [groups, planes], 1 byte each
  absl::Span<const float> alphas;   // kSigns: [groups, planes]
  absl::Span<const float> offsets;  // kSigns: [groups]
};

// Immutable; thread-safe.
class BinaryPlanes {
 public:
  const PlanesLayout& layout() const { return layout_; }
  int64_t rows() const { return layout_.rows; }
  int64_t cols() const { return layout_.cols; }
  uint64_t resident_bytes() const;

  // f32 values of rows [first_row, first_row + out.rows), columns in their own order. The formulas above: kIntegers
  // adds integers (exact) and multiplies once; kSigns adds or takes away alphas, plane 0 first.
  void DecodeRows(Isa isa, int64_t first_row, MutableMatrixView out) const;

  // What kernels read; valid while this lives.
  const PlaneArrays& arrays() const { return arrays_; }

 private:
  friend class BinaryPlanesBuilder;
  explicit BinaryPlanes(PlanesLayout layout);

  PlanesLayout layout_;
  PlaneArrays arrays_;
  ZeroedBuffer<char> memory_;  // of everything that arrays_ points to
  uint64_t memory_bytes_ = 0;
};

class BinaryPlanesBuilder {
 public:
  // PLANES_UNSUPPORTED (FAILED_PRECONDITION) for what kernels cannot run: no rows or columns, the number of planes, a
  // group size that is neither a multiple of kPlaneInputs nor the whole row, another dtype, shared steps that add up to
  // more than 255, a column order that is no permutation. Whoever asks then decodes.
  static absl::StatusOr<BinaryPlanesBuilder> Create(PlanesLayout layout);
  // Different blocks of kPlaneRows rows may be set from several threads at once. Steps of a group add up to at most
  // 255.
  void SetRow(int64_t row, const PlaneRow& values);
  BinaryPlanes Build() &&;

 private:
  explicit BinaryPlanesBuilder(BinaryPlanes weight);
  void SetCodes(int64_t row, absl::Span<const uint8_t> codes);
  void SetScaling(int64_t row, const PlaneRow& values);
  BinaryPlanes weight_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_BINARY_PLANES_H_
