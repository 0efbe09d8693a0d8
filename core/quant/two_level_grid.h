// The two-level grid of SpQR (arXiv 2306.03078): small groups whose scales and zero points are quantized again, and
// single weights kept apart.
//
//   first level    of a row's group:  value = scale * (code - zero),  code = clamp(round(w / scale + zero), 0, 2^bits -
//   1)
//                  the range is that of the weights and need not contain 0; zero is a real number, unless round_zero
//   second level   the scales (and the zeros) that one group has in tile_rows neighbouring rows:
//                  value = step * (code - offset), or offset where step is 0
//   outliers       weights whose squared rounding error costs more than outlier_threshold times what the variance of an
//                  average column costs: stored as they are, and left out when their group is fitted
//
// A last tile of fewer rows is an ordinary tile.
#ifndef QUANTD_CORE_QUANT_TWO_LEVEL_GRID_H_
#define QUANTD_CORE_QUANT_TWO_LEVEL_GRID_H_

#include <memory>
#include <vector>

#include "core/quant/grid.h"
#include "core/quant/parameter_table.h"
#include "core/tensor/dtype.h"

namespace quantd {

struct TwoLevelOptions {
  enum class Outliers {
    kNone,
    kSimple,       // found when a column is coded, groups are fitted with them
    kLeaveOneOut,  // groups are fitted without the weights whose absence saves more than the threshold
  };

  int bits = 3;
  int64_t group_size = 16;  // inputs of a group; -1: the whole row
  int scale_bits = 3;       // of a scale's code; 0: scales are stored as they are
  int zero_bits = 3;
  int64_t tile_rows = 16;
  bool symmetric = false;
  bool authors_range = false;         // symmetric groups without negative weights keep their lower end
  bool round_zero = false;            // zeros are whole numbers
  bool authors_equal_values = false;  // groups and tiles of equal values, and groups of outliers alone, get the range
                                      // [-1, 1] as in the released code
  Outliers outliers = Outliers::kLeaveOneOut;
  double outlier_threshold = 0.2;
  Dtype scale_dtype = Dtype::kF16;    // of steps and offsets, and of scales and zeros that have none; F16 or F32
  Dtype outlier_dtype = Dtype::kF16;  // F16 or F32

  int max_code() const { return (1 << bits) - 1; }
  // Whether zeros are worth a second level: not when all are equal, nor when whole numbers of fewer bits come out.
  bool tiles_zeros() const {
    return zero_bits > 0 && (!round_zero || zero_bits < bits) && (!symmetric || authors_equal_values);
  }
};

TwoLevelOptions TwoLevelOptionsOf(const Parameters& parameters);
std::unique_ptr<Grid> MakeTwoLevelGrid(const Parameters& parameters);

// Rows of the parameter table.
std::vector<ParameterInfo> TwoLevelParameters();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_TWO_LEVEL_GRID_H_
