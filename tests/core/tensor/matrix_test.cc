#include "core/tensor/matrix.h"

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::Each;
using testing::ElementsAre;

TEST(Matrix, IsZeroedAndAligned) {
  for (const int64_t cols : {1, 7, 64}) {
    const Matrix matrix(5, cols);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(matrix.data()) % 64, 0u);
    EXPECT_THAT(matrix.span(), Each(0.0f));
    EXPECT_EQ(matrix.size(), 5 * cols);
  }
}

TEST(Matrix, EmptyOnesHoldNothing) {
  const Matrix matrix(0, 7);
  EXPECT_EQ(matrix.size(), 0);
  EXPECT_TRUE(matrix.span().empty());
}

TEST(Matrix, ViewsLookAtRowsAndColumns) {
  Matrix matrix(3, 4);
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t c = 0; c < 4; ++c) matrix.at(r, c) = static_cast<float>(10 * r + c);
  }
  const MatrixView inner = matrix.view().Rows(1, 2).Cols(1, 2);
  EXPECT_THAT(inner.row_span(0), ElementsAre(11, 12));
  EXPECT_THAT(inner.row_span(1), ElementsAre(21, 22));
  const Matrix copy = Matrix::CopyOf(inner);
  EXPECT_THAT(copy.span(), ElementsAre(11, 12, 21, 22));
  matrix.view().Rows(1, 1).at(0, 1) = -1;
  EXPECT_EQ(matrix.at(1, 1), -1);
  EXPECT_EQ(copy.at(0, 0), 11) << "a copy does not follow";
}

}  // namespace
}  // namespace quantd
