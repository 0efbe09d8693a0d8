// Weights on a uniform grid, packed: value = scale * (code - zero), in f32.
// docs/formats/packed_weights.md has the bytes.
#ifndef QUANTD_CORE_QUANT_UNIFORM_WEIGHT_H_
#define QUANTD_CORE_QUANT_UNIFORM_WEIGHT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/checked.h"
#include "core/quant/grid.h"
#include "core/quant/quantized_weight.h"

namespace quantd {

struct UniformLayout {
  int64_t rows = 0;
  int64_t cols = 0;
  int bits = 4;
  int64_t group_size = 0;           // inputs of a group, 1..cols; the last group may be shorter
  bool symmetric = false;           // zero is 2^(bits-1) everywhere and not stored
  bool per_row = true;              // false: one scale (and zero) a group, shared by all rows
  Dtype scale_dtype = Dtype::kF16;  // F16 or F32
  bool has_group_index = false;     // groups are not runs of neighbouring inputs

  int64_t groups() const { return CeilDiv(cols, group_size); }
  int64_t scale_rows() const { return per_row ? rows : 1; }
  int64_t code_row_bytes() const;
  int64_t zero_row_bytes() const;  // 0 when symmetric
};

// Packed bytes as stored. Sizes agree with the layout.
struct UniformTensors {
  std::vector<uint8_t> codes;        // [rows, code_row_bytes]
  std::string scales;                // [scale_rows, groups] of scale_dtype, little-endian
  std::vector<uint8_t> zeros;        // [scale_rows, zero_row_bytes]
  std::vector<int32_t> group_index;  // [cols], 0..groups-1; empty unless has_group_index
};

class UniformWeight : public QuantizedWeight {
 public:
  UniformWeight(UniformLayout layout, UniformTensors tensors) : layout_(layout), tensors_(std::move(tensors)) {}

  int64_t rows() const override { return layout_.rows; }
  int64_t cols() const override { return layout_.cols; }
  void DecodeRows(int64_t first_row, MutableMatrixView out) const override;
  std::string kind() const override { return "uniform"; }
  Json Description() const override;
  std::vector<StoredTensor> ToTensors() const override;
  std::string Summary() const override;
  std::optional<PlanesLayout> RunLayout() const override;
  void FillPlanes(BinaryPlanesBuilder& builder) const override;

  // For exporters.
  const UniformLayout& layout() const { return layout_; }
  void CodesOfRow(int64_t row, absl::Span<uint8_t> out) const;  // cols() codes
  void ScalesOfRow(int64_t row, absl::Span<float> out) const;   // groups() scales
  void ZerosOfRow(int64_t row, absl::Span<uint8_t> out) const;  // groups() zeros, also when symmetric
  int64_t GroupOfColumn(int64_t col) const;

 private:
  struct RowParts {
    std::vector<uint8_t> codes;
    std::vector<float> scales;
    std::vector<uint8_t> zeros;
  };
  void DecodeGroups(const RowParts& parts, float* out) const;
  void DecodeByIndex(const RowParts& parts, float* out) const;

  UniformLayout layout_;
  UniformTensors tensors_;
};

// Checks everything. Reason: ARTIFACT_MALFORMED.
absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadUniformWeight(StoredWeight stored);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNIFORM_WEIGHT_H_
