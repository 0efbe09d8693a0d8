// Weights in binary codes, packed: value = offset + sum over the planes of +alpha where the plane's bit is 1, -alpha
// where it is 0, in f32 and in the order of the planes. docs/formats/packed_weights.md has the bytes.
#ifndef QUANTD_CORE_QUANT_BINARY_CODED_WEIGHT_H_
#define QUANTD_CORE_QUANT_BINARY_CODED_WEIGHT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/checked.h"
#include "core/quant/grid.h"
#include "core/quant/quantized_weight.h"

namespace quantd {

// Bits of a pattern are planes: bit i says plane i.
inline float BinaryCodedValue(const float* alphas, int planes, float offset, int pattern) {
  float value = offset;
  for (int i = 0; i < planes; ++i) value = ((pattern >> i) & 1) != 0 ? value + alphas[i] : value - alphas[i];
  return value;
}

struct BinaryCodedLayout {
  int64_t rows = 0;
  int64_t cols = 0;
  int planes = 0;           // 1..8
  int64_t group_size = 0;   // inputs of a group, 1..cols; the last group may be shorter
  bool has_offsets = true;  // false: they are 0 and not stored
  Dtype scale_dtype = Dtype::kF16;
  bool has_group_index = false;  // groups are not runs of neighbouring columns

  int64_t groups() const { return CeilDiv(cols, group_size); }
  int64_t plane_row_bytes() const;
};

// Sizes agree with the layout.
struct BinaryCodedTensors {
  std::vector<uint8_t> planes;       // [rows, planes, plane_row_bytes]
  std::string alphas;                // [rows, groups, planes], as stored
  std::string offsets;               // [rows, groups], as stored
  std::vector<int32_t> group_index;  // [cols]; empty unless has_group_index
};

class BinaryCodedWeight : public QuantizedWeight {
 public:
  BinaryCodedWeight(BinaryCodedLayout layout, BinaryCodedTensors tensors)
      : layout_(layout), tensors_(std::move(tensors)) {}

  int64_t rows() const override { return layout_.rows; }
  int64_t cols() const override { return layout_.cols; }
  void DecodeRows(int64_t first_row, MutableMatrixView out) const override;
  std::string kind() const override { return "binary_coded"; }
  Json Description() const override;
  std::vector<StoredTensor> ToTensors() const override;
  std::string Summary() const override;
  std::optional<PlanesLayout> RunLayout() const override;
  void FillPlanes(BinaryPlanesBuilder& builder) const override;

  const BinaryCodedLayout& layout() const { return layout_; }
  const BinaryCodedTensors& tensors() const { return tensors_; }
  void PatternsOfRow(int64_t row, absl::Span<uint8_t> out) const;  // [cols]
  void AlphasOfRow(int64_t row, absl::Span<float> out) const;      // [groups, planes]
  void OffsetsOfRow(int64_t row, absl::Span<float> out) const;     // [groups]
  int64_t GroupOfColumn(int64_t col) const {
    return layout_.has_group_index ? tensors_.group_index[col] : col / layout_.group_size;
  }

 private:
  BinaryCodedLayout layout_;
  BinaryCodedTensors tensors_;
};

// Checks everything. Reason: ARTIFACT_MALFORMED.
absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadBinaryCodedWeight(StoredWeight stored);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODED_WEIGHT_H_
