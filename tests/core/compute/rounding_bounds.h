// What rounding in f32 may cost, for comparisons with references in f64.
#ifndef QUANTD_TESTS_CORE_COMPUTE_ROUNDING_BOUNDS_H_
#define QUANTD_TESTS_CORE_COMPUTE_ROUNDING_BOUNDS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace quantd {

inline constexpr double kUnit = 0x1p-24;  // relative error of one rounding

// What an element of a product should be, and what the sum of its terms' magnitudes is.
struct Exact {
  double value = 0;
  double magnitude = 0;
  void Add(double a, double b) {
    value += a * b;
    magnitude += std::abs(a * b);
  }
};

// |computed - exact| <= gamma_n sum |a_i b_i| for any order of summation, gamma_n = n u / (1 - n u), u = 2^-24 (Higham,
// Accuracy and Stability of Numerical Algorithms, 3.1). n: the roundings that any one term goes through.
inline double Gamma(int64_t roundings) {
  const double nu = static_cast<double>(roundings) * kUnit;
  return nu / (1 - nu);
}

// Roundings of a term of a sum over 32 lanes (vector_kernels.h): its product, the additions to its lane, five for the
// lanes.
inline int64_t LaneRoundings(int64_t count) {
  return 1 + (count + 31) / 32 + 5;
}

// Compares and says how much of the bound was used: a bound that is never approached could not notice an error.
class WorstShare {
 public:
  void Check(double computed, double exact, double bound) {
    const double error = std::abs(computed - exact);
    EXPECT_LE(error, bound) << computed << " and not " << exact;
    if (bound > 0) worst_ = std::max(worst_, error / bound);
  }
  void Check(double computed, const Exact& exact, int64_t roundings) {
    Check(computed, exact.value, Gamma(roundings) * exact.magnitude);
  }
  double worst() const { return worst_; }

 private:
  double worst_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_COMPUTE_ROUNDING_BOUNDS_H_
