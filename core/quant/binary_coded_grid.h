// The binary-coded grids: 2^m values a row or group, the sums offset +- alpha_1 .. +- alpha_m, so that weights are m
// planes of signs.
//
//   binary_coded  GPTQT (arXiv 2407.02891): linear quantization to n bits, then m binary codes for those integers, with
//                 the scale explored again (binary_coded_search.h)
//   bcq           binary coding of the weights themselves, greedy and then alternating (bcq_fit.h)
// alpha_i and the offset are rounded to their storage dtype first; levels are what those decode to.
#ifndef QUANTD_CORE_QUANT_BINARY_CODED_GRID_H_
#define QUANTD_CORE_QUANT_BINARY_CODED_GRID_H_

#include <memory>
#include <vector>

#include "core/quant/binary_coded_search.h"
#include "core/quant/binary_levels.h"
#include "core/quant/grid.h"
#include "core/quant/parameter_table.h"

namespace quantd {

// What errors of the search are weighted with.
enum class SearchCost {
  kDiagonal,  // of the sensitivity
  kFactor,    // 1 / U_jj^2 of the solver; without one, as kDiagonal
  kPlain,     // nothing: the error of the weights themselves
};

struct BinaryCodedOptions {
  BinaryStorage storage = {};
  BinarySearchOptions search = {};
  SearchCost cost = SearchCost::kDiagonal;
};

struct BcqOptions {
  BinaryStorage storage = {.has_offsets = false};
  int rounds = 15;
};

// n of linear_bits=0: two more than the codes have, as far as searching every codebook stays cheap.
constexpr int DefaultLinearBits(int planes) {
  return planes < 4 ? planes + 2 : 5;
}

// Codebooks that a search may be asked to try. 91225 make it about as dear as everything else a job does.
inline constexpr int64_t kMaxCodebooks = 100000;
bool HasTooManyCodebooks(const Parameters& parameters);

BinaryCodedOptions BinaryCodedOptionsOf(const Parameters& parameters);
std::unique_ptr<Grid> MakeBinaryCodedGrid(const Parameters& parameters);
std::unique_ptr<Grid> MakeBcqGrid(const Parameters& parameters);

// Rows of the parameter table.
std::vector<ParameterInfo> BinaryCodedParameters();
std::vector<ParameterInfo> BcqParameters();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODED_GRID_H_
