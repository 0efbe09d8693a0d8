// Weights on a residual binary grid (residual_binary_grid.h), packed. docs/formats/packed_weights.md has the bytes.
#ifndef QUANTD_CORE_QUANT_RESIDUAL_BINARY_WEIGHT_H_
#define QUANTD_CORE_QUANT_RESIDUAL_BINARY_WEIGHT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/checked.h"
#include "core/quant/grid.h"
#include "core/quant/quantized_weight.h"
#include "core/quant/residual_binary_fit.h"

namespace quantd {

struct ResidualBinaryLayout {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t block_size = 0;  // columns, 1..cols; the last block may be shorter
  bool means = true;       // false: they are 0 and not stored
  Dtype scale_dtype = Dtype::kF16;
  bool has_block_index = false;  // blocks are not runs of neighbouring columns

  int64_t blocks() const { return CeilDiv(cols, block_size); }
  int64_t stored_levels() const { return means ? kBinaryLevels : kBinaryLevels - 3; }
  Dtype block_index_dtype() const;  // the narrowest of U8, U16, U32 that holds a block
  uint64_t StoredBits() const;
};

// Sizes agree with the layout.
struct ResidualBinaryTensors {
  std::vector<uint8_t> signs;        // [rows, packed cols], 1 bit each
  std::vector<uint8_t> second_bits;  // likewise: second sign of salient weights, of others whether they are high
  std::vector<uint8_t> salient;      // [packed cols]
  std::vector<float> levels;         // [rows, blocks, kBinaryLevels], widened, with means
  std::vector<int32_t> block_index;  // [cols], 0..blocks-1; empty unless has_block_index
};

class ResidualBinaryWeight : public QuantizedWeight {
 public:
  ResidualBinaryWeight(ResidualBinaryLayout layout, ResidualBinaryTensors tensors);

  int64_t rows() const override { return layout_.rows; }
  int64_t cols() const override { return layout_.cols; }
  void DecodeRows(int64_t first_row, MutableMatrixView out) const override;
  std::string kind() const override { return "residual_binary"; }
  Json Description() const override;
  std::vector<StoredTensor> ToTensors() const override;
  std::string Summary() const override;

  const ResidualBinaryLayout& layout() const { return layout_; }
  const ResidualBinaryTensors& tensors() const { return tensors_; }
  bool IsSalient(int64_t col) const { return salient_[col] != 0; }
  // Bits of planes alone, as the paper counts them: 2 in salient columns, 1 in others.
  double PlaneBitsPerWeight() const;

 private:
  ResidualBinaryLayout layout_;
  ResidualBinaryTensors tensors_;
  std::vector<uint8_t> salient_;  // [cols]
};

// Checks everything. Reason: ARTIFACT_MALFORMED.
absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadResidualBinaryWeight(StoredWeight stored);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RESIDUAL_BINARY_WEIGHT_H_
