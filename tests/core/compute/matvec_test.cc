// Products with few rows against sums in f64, within the bound of sums over lanes.
#include "core/compute/matvec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

struct Shape {
  int64_t rows, inner, cols;
};
// Around the 32 lanes of a sum and the tile of 64 rows of the matrix.
constexpr Shape kShapes[] = {{1, 1, 1},     {1, 31, 63},  {2, 32, 64},   {3, 33, 65},
                             {4, 100, 129}, {1, 1001, 7}, {4, 64, 1000}, {2, 4099, 5}};

class MatVecTest : public testing::TestWithParam<Shape> {
 protected:
  // Views into wider matrices: strides are not widths.
  MatrixView a() const { return wide_a_.view().Cols(2, shape_.inner); }
  MatrixView b() const { return wide_b_.view().Cols(1, shape_.inner); }

  Matrix Run(const ExecutionOptions& options, bool accumulate) const {
    const auto context = ExecutionContext::Create(options).value();
    Matrix out = RandomMatrix(shape_.rows, shape_.cols, 3);
    if (!accumulate) {
      for (float& value : out.span()) value = std::numeric_limits<float>::quiet_NaN();
    }
    MatVecTransposed(*context, a(), b(), out.view(), accumulate);
    return out;
  }

  const Shape shape_ = GetParam();
  const Matrix wide_a_ = RandomMatrix(shape_.rows, shape_.inner + 5, 1);
  const Matrix wide_b_ = RandomMatrix(shape_.cols, shape_.inner + 3, 2);
};

TEST_P(MatVecTest, IsTheSumInF64) {
  const Matrix start = RandomMatrix(shape_.rows, shape_.cols, 3);
  WorstShare share;
  for (bool accumulate : {false, true}) {
    const Matrix out = Run({.threads = 2}, accumulate);
    for (int64_t r = 0; r < shape_.rows; ++r) {
      for (int64_t c = 0; c < shape_.cols; ++c) {
        Exact exact;
        for (int64_t k = 0; k < shape_.inner; ++k) exact.Add(a().at(r, k), b().at(c, k));
        if (accumulate) exact.Add(start.at(r, c), 1);
        share.Check(out.at(r, c), exact, LaneRoundings(shape_.inner) + accumulate);
      }
    }
  }
  // Errors of n terms cancel as sqrt(n).
  EXPECT_GT(share.worst(), 0.02 / std::sqrt(static_cast<double>(shape_.inner)));
}

TEST_P(MatVecTest, HasTheSameBitsForAnyThreadsAndInstructionSet) {
  for (bool accumulate : {false, true}) {
    const Matrix expected = Run({.threads = 1, .isa_at_most = "scalar"}, accumulate);
    for (const char* isa : {"scalar", "avx2", "avx512"}) {
      for (int threads : {1, 2, 5}) {
        const Matrix out = Run({.threads = threads, .isa_at_most = isa}, accumulate);
        EXPECT_EQ(std::memcmp(out.data(), expected.data(), static_cast<size_t>(out.size()) * sizeof(float)), 0)
            << isa << " " << threads;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, MatVecTest, testing::ValuesIn(kShapes));

}  // namespace
}  // namespace quantd
