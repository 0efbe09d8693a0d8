// Weights on a two-level grid (two_level_grid.h), packed. docs/formats/packed_weights.md has the bytes.
#ifndef QUANTD_CORE_QUANT_TWO_LEVEL_WEIGHT_H_
#define QUANTD_CORE_QUANT_TWO_LEVEL_WEIGHT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/checked.h"
#include "core/quant/grid.h"
#include "core/quant/quantized_weight.h"
#include "core/quant/second_level.h"

namespace quantd {

// How scales, or zeros, are stored.
enum class TwoLevelStorage {
  kNone,   // zeros only: 2^(bits-1) everywhere
  kPlain,  // of scale_dtype
  kWhole,  // zeros only: whole numbers 0 .. 2^bits - 1, packed like codes
  kTiled,  // codes, and a step and an offset of scale_dtype for each tile of rows and group
};

struct TwoLevelLayout {
  int64_t rows = 0;
  int64_t cols = 0;
  int bits = 3;
  int64_t group_size = 0;  // inputs of a group, 1..cols; the last group may be shorter
  int64_t tile_rows = 16;  // the last tile may be shorter
  TwoLevelStorage scales = TwoLevelStorage::kTiled;
  TwoLevelStorage zeros = TwoLevelStorage::kTiled;
  int scale_bits = 3;  // of codes, when tiled
  int zero_bits = 3;
  Dtype scale_dtype = Dtype::kF16;
  Dtype outlier_dtype = Dtype::kF16;
  int64_t outliers = 0;
  bool has_group_index = false;  // groups are not runs of neighbouring inputs

  int64_t groups() const { return CeilDiv(cols, group_size); }
  int64_t tiles() const { return CeilDiv(rows, tile_rows); }
  Dtype group_index_dtype() const;  // the narrowest of U8, U16, U32 that holds a group
  Dtype column_dtype() const;       // the narrower of U16 and U32 that holds a number of columns
  // Bits of all tensors but the outliers' columns and values.
  uint64_t BitsWithoutOutliers() const;
};

// Scales, or zeros, of all groups.
struct TiledTensors {
  std::vector<float> values;        // [rows, groups], when plain
  std::vector<uint8_t> codes;       // [rows, packed groups], when tiled; also of whole zeros
  std::vector<SecondLevel> levels;  // [tiles, groups], when tiled
};

// Widened, except for codes. Sizes agree with the layout.
struct TwoLevelTensors {
  std::vector<uint8_t> codes;  // [rows, packed cols]
  TiledTensors scales;
  TiledTensors zeros;
  std::vector<int32_t> group_index;      // [cols], 0..groups-1; empty unless has_group_index
  std::vector<int32_t> outlier_counts;   // [rows]; empty when there are none
  std::vector<int32_t> outlier_columns;  // [outliers], rising within a row
  std::vector<float> outlier_values;     // [outliers]
};

class TwoLevelWeight : public QuantizedWeight {
 public:
  TwoLevelWeight(TwoLevelLayout layout, TwoLevelTensors tensors);

  int64_t rows() const override { return layout_.rows; }
  int64_t cols() const override { return layout_.cols; }
  void DecodeRows(int64_t first_row, MutableMatrixView out) const override;
  std::string kind() const override { return "two_level"; }
  Json Description() const override;
  std::vector<StoredTensor> ToTensors() const override;
  std::string Summary() const override;

  // For tests and exporters.
  const TwoLevelLayout& layout() const { return layout_; }
  const TwoLevelTensors& tensors() const { return tensors_; }
  void CodesOfRow(int64_t row, absl::Span<uint8_t> out) const;  // cols() codes; those of outliers mean nothing
  void ScalesOfRow(int64_t row, absl::Span<float> out) const;   // groups() scales
  void ZerosOfRow(int64_t row, absl::Span<float> out) const;    // groups() zeros
  std::vector<int32_t> OutlierColumnsOfRow(int64_t row) const;  // rising

 private:
  int64_t GroupOfColumn(int64_t col) const {
    return layout_.has_group_index ? tensors_.group_index[col] : col / layout_.group_size;
  }

  TwoLevelLayout layout_;
  TwoLevelTensors tensors_;
  std::vector<int64_t> outlier_begins_;  // [rows + 1]; empty when there are none
};

// Checks everything. Reason: ARTIFACT_MALFORMED.
absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadTwoLevelWeight(StoredWeight stored);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_TWO_LEVEL_WEIGHT_H_
