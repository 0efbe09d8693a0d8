// Binary coding of real weights without a step between (BCQ, as released with LUT-GEMM): w ~ sum_i alpha_i b_i, b =
// +-1.
//
//   greedy       b_i = sign(r), alpha_i = weighted mean of |r|, r -= alpha_i b_i
//   alternating  alpha from the normal equations B'HB alpha = B'Hw by as many steps of conjugate gradients as planes,
//                |alpha| sorted falling; then each b to the sum nearest to w
// As in the released code the denominators of the conjugate gradients have 1e-6 added, so that the fit depends on the
// scale of the weights; b is 0 where a residual is exactly 0 or a cost is 0.
#ifndef QUANTD_CORE_QUANT_BCQ_FIT_H_
#define QUANTD_CORE_QUANT_BCQ_FIT_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace quantd {

struct BcqFitOptions {
  int planes = 3;             // 1..8
  int rounds = 15;            // of alternating; 0: greedy alone
  bool greedy_codes = false;  // alternate with the signs of residuals in place of the nearest sums
};

struct BcqFit {
  std::vector<double> alphas = {};  // [planes], falling after a round of alternating
  std::vector<int8_t> signs = {};   // [planes, weights]: b
};

// `costs` H >= 0, as many as `weights`, or empty: all 1.
BcqFit FitBcq(absl::Span<const double> weights, absl::Span<const double> costs, const BcqFitOptions& options);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BCQ_FIT_H_
