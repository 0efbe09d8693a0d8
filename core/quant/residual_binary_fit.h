// Fitting one block of the residual binary grid: which columns are salient, where the others are split, and the levels
// of every row.
#ifndef QUANTD_CORE_QUANT_RESIDUAL_BINARY_FIT_H_
#define QUANTD_CORE_QUANT_RESIDUAL_BINARY_FIT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/quant/grid.h"
#include "core/quant/residual_binary_grid.h"

namespace quantd {

// Levels of one row and block, as stored and in this order; without means the three of them are left out.
enum BinaryLevel {
  kLowMean,
  kLowScale,
  kHighMean,
  kHighScale,
  kSalientMean,
  kSalientScale,
  kSalientSecondScale,
  kBinaryLevels,
};

struct BinaryBlock {
  std::vector<bool> salient;  // by column of the block
  float split = 0;            // of the domain's magnitude; low is strictly below
  // Padded to whole slabs.
  std::vector<float> levels[kBinaryLevels];
  std::vector<float> first_mean;   // where the first sign of a salient weight changes
  std::vector<float> second_mean;  // where that of its residual changes
};

// What decides between low and high: the weight, or its saliency.
bool SearchesOnSaliency(const ResidualBinaryOptions& options);

// SCALE_OUT_OF_RANGE names the first row one of whose levels the storage dtype cannot hold.
absl::StatusOr<BinaryBlock> FitBinaryBlock(const ExecutionContext& context, const ResidualBinaryOptions& options,
                                           const FitColumns& columns);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RESIDUAL_BINARY_FIT_H_
