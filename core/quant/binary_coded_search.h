// The search behind the binary-coded grid: for the weights of one row and group, the scale, zero point and codebook
// with the least weighted error.
//
//   step 1   p = clamp(round(w / S) + z, 0, 2^n - 1)
//   step 2   the point c of the codebook nearest to p (ties: the lower one); w-hat = S (c - z)
//   cost     sum_k h_k (w_k - w-hat_k)^2
// With one rounding w-hat is the value S (c - z) nearest to w itself. GPTQT, arXiv 2407.02891, gives the two steps and
// that the scale is explored again; the cost's weights and the points tried are our reconstruction.
#ifndef QUANTD_CORE_QUANT_BINARY_CODED_SEARCH_H_
#define QUANTD_CORE_QUANT_BINARY_CODED_SEARCH_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "core/quant/binary_codebooks.h"
#include "core/quant/binary_coded_kernels.h"

namespace quantd {

struct BinarySearchOptions {
  int planes = 3;       // m
  int linear_bits = 5;  // n
  CodebookFamily family = CodebookFamily::kSpanning;
  std::vector<double> multipliers = {1.0};  // of S0 = (hi - lo) / (2^n - 1), lo = min(0, w), hi = max(0, w)
  bool refit_zero = true;                   // z = round(-lo / S); false: round(-lo / S0)
  bool two_roundings = false;
  // Tries the plain m-bit min-max grid too, S = (hi - lo) / ((2^m - 1) c) with c = floor((2^n - 1) / (2^m - 1)) and
  // steps c 2^i, always with one rounding: so that the result costs no more than that grid.
  bool with_uniform = true;
  // Scales with an alpha or an offset above this are left out, because their storage dtype cannot hold it.
  double largest_stored = std::numeric_limits<double>::infinity();
};

// `count` multipliers evenly from `least` to `greatest`; one: 1.
std::vector<double> ScaleMultipliers(int count, double least, double greatest);

// What a search found, in exact arithmetic: nothing is rounded to how it is stored.
struct BinaryCodes {
  double scale = 0;  // S; 0 when all weights are 0
  double zero = 0;   // z, a whole number
  BinaryCodebook book = {};
  bool two_roundings = false;
  double cost = 0;
  int multiplier = -1;  // index into the multipliers; -1: the uniform grid

  double ValueOf(int point) const { return scale * (point - zero); }
  // Merged: w-hat = offset + sum_i +-alpha(i).
  double alpha(int plane) const { return scale * book.steps[plane] / 2; }
  double offset(int planes) const;
  // The weight from which on the upper one of two neighbouring points is taken.
  double Border(int lower, int upper) const;
};

// Searches one row and group after the other; keeps its buffers. Not thread-safe: one a thread.
class BinaryCodedSearch {
 public:
  BinaryCodedSearch(const BinarySearchOptions& options, const BinaryCodedKernels& kernels);

  // `costs` h >= 0, as many as `weights`. All 0: as if all were 1.
  BinaryCodes Search(absl::Span<const float> weights, absl::Span<const double> costs);

 private:
  struct Lanes {
    double scale[kScaleLanes];
    double zero[kScaleLanes];
  };

  void SortWeights(absl::Span<const float> weights);
  void SumWeights(absl::Span<const double> costs);
  Lanes LanesFrom(int first) const;
  void SumBelowBorders(const Lanes& lanes, int lane);
  void SetValues(const Lanes& lanes);
  void TryLanes(int first, BinaryCodes& best);
  bool CanBeStored(const BinaryCodes& codes) const;
  double CostOf(const BinaryCodes& codes) const;
  void TryUniform(BinaryCodes& best) const;

  const BinarySearchOptions options_;
  const BinaryCodedKernels& kernels_;
  const CodebookTable& table_;
  const int points_;       // 2^n
  const int half_points_;  // borders lie at these
  std::vector<BorderedPair> pairs_;
  // Of the weights in rising order.
  std::vector<uint64_t> order_;  // their bits, made to compare as they do, above their index
  std::vector<double> values_;
  std::vector<double> weight_sums_;   // [count + 1], sum of h over the first k
  std::vector<double> product_sums_;  // likewise of h w
  double square_sum_ = 0;             // of h w^2
  double lo_ = 0;
  double hi_ = 0;
  // Of one batch of scales.
  std::vector<uint16_t> indices_;       // [count]: half points at or below a weight
  std::vector<int32_t> weights_below_;  // [half points + 1]
  std::vector<double> lane_values_;     // [points, lanes]
  std::vector<double> lane_weights_;    // [half points, lanes]: sum of h below
  std::vector<double> lane_products_;   // likewise of h w
  std::vector<double> pair_costs_;      // [pairs, lanes]
  std::vector<double> last_costs_;      // [points, lanes]
};

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODED_SEARCH_H_
