// The residual binary grid of BiLLM (arXiv 2402.04291): two values a weight in most columns, four in a few salient
// ones.
//
// Columns are coded in blocks. In each, with D the domain of the search (the weights, or their saliency w^2 / U_jj^2):
//   salient columns  those with the largest sums of saliency; how many: the least error of D when they are approximated
//                    by two residual binary planes and the others by two (paper: by one)
//   split            of the other weights, by |D|: below and above each get a plane of their own; where: least error of
//   D values           below, above   mean + scale * sign
//                    salient        mean + scale * sign + second_scale * second_sign
// Means and scales are of a row's weights in the block: mean m of w, scale = mean of |w - m|, sign(0) = +1.
#ifndef QUANTD_CORE_QUANT_RESIDUAL_BINARY_GRID_H_
#define QUANTD_CORE_QUANT_RESIDUAL_BINARY_GRID_H_

#include <memory>
#include <vector>

#include "core/quant/grid.h"
#include "core/quant/parameter_table.h"
#include "core/tensor/dtype.h"

namespace quantd {

struct ResidualBinaryOptions {
  int64_t block_size = 128;         // columns; the last block, or that of a narrow layer, has fewer
  bool hessian_saliency = true;     // false: the magnitude of the weights stands for it
  bool paper_search = false;        // D is the weights, 3 to 30 salient columns, splits at shares of the largest |w|
  bool subtract_mean = true;        // false: every mean is 0
  Dtype scale_dtype = Dtype::kF16;  // F16 or F32
};

ResidualBinaryOptions ResidualBinaryOptionsOf(const Parameters& parameters);
std::unique_ptr<Grid> MakeResidualBinaryGrid(const Parameters& parameters);

// Rows of the parameter table.
std::vector<ParameterInfo> ResidualBinaryParameters();

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RESIDUAL_BINARY_GRID_H_
