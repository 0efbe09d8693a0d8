// The levels of binary codes in every row of one fit, as they will decode, and the borders between them.
#ifndef QUANTD_CORE_QUANT_BINARY_LEVELS_H_
#define QUANTD_CORE_QUANT_BINARY_LEVELS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/quant/binary_coded_kernels.h"
#include "core/quant/grid.h"
#include "core/tensor/dtype.h"

namespace quantd {

// 2^planes levels a row, rising. Rows are padded to whole slabs and next to each other for every level.
struct BinaryLevels {
  BinaryLevels(int64_t rows, int planes);

  int64_t padded_rows = 0;
  int planes = 0;
  std::vector<float> alphas;      // [planes, padded_rows], as stored
  std::vector<float> offsets;     // [padded_rows], as stored
  std::vector<float> values;      // [2^planes, padded_rows]
  std::vector<float> borders;     // [2^planes - 1, padded_rows]: values from a border on take the level above it
  std::vector<uint8_t> patterns;  // [2^planes, padded_rows]: which planes a level sets

  int levels() const { return 1 << planes; }
  // Rounds alphas (at least 0) and offset to `dtype`, and sets the row's levels from them, with borders half way
  // between levels.
  void SetRow(int64_t row, absl::Span<const double> row_alphas, double offset, Dtype dtype);
  void SetBorder(int64_t row, int below, double border) {
    borders[below * padded_rows + row] = static_cast<float>(border);
  }
};

// SCALE_OUT_OF_RANGE names the first of `rows` rows with a level that is not finite. `columns`: what was fitted.
absl::Status CheckLevels(const BinaryLevels& levels, const FitColumns& columns, Dtype dtype);

// The nearest level is the one between whose borders a value lies; codes are indices of levels, for
// AssembleBinaryCodes.
class FittedBinaryGrid : public FittedGrid {
 public:
  FittedBinaryGrid(const BinaryCodedKernels& kernels, BinaryLevels levels)
      : kernels_(kernels), levels_(std::move(levels)) {}
  void Nearest(int64_t column, int64_t slab, const float* values, float* nearest, Code* codes) const override;
  const BinaryLevels& levels() const { return levels_; }

 private:
  const BinaryCodedKernels& kernels_;
  const BinaryLevels levels_;
};

struct BinaryStorage {
  int planes = 3;
  int64_t group_size = -1;  // inputs of a group; -1: the whole row
  bool has_offsets = true;
  Dtype scale_dtype = Dtype::kF16;

  int64_t columns_per_fit(int64_t cols) const { return group_size == -1 ? cols : group_size; }
  double PlannedBits(int64_t rows, int64_t cols) const;
};

// Packs what FittedBinaryGrids coded.
std::unique_ptr<QuantizedWeight> AssembleBinaryCodes(const ExecutionContext& context, const CodedColumns& coded,
                                                     const BinaryStorage& storage);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_LEVELS_H_
