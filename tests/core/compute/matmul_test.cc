// Products against sums in f64, within the bound of any order of summation in f32.
#include "core/compute/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>

#include "core/compute/gram.h"
#include "core/compute/tile_product.h"
#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

std::unique_ptr<ExecutionContext> Context(int threads) {
  return ExecutionContext::Create({.threads = threads}).value();
}

struct Shape {
  int64_t rows, inner, cols;
};
// Around the tile of 256: below, exactly, one more; few rows take the path of the matrix-vector product.
constexpr Shape kShapes[] = {{1, 1, 1}, {3, 70, 65}, {5, 33, 7}, {256, 16, 256}, {257, 100, 300}, {600, 20, 31}};

class MatMulTest : public testing::TestWithParam<Shape> {
 protected:
  const Shape shape_ = GetParam();
  const Matrix a_ = RandomMatrix(shape_.rows, shape_.inner, 1);
  const Matrix start_ = RandomMatrix(shape_.rows, shape_.cols, 3);
};

using Element = std::function<float(int64_t inner, int64_t col)>;  // of the second factor

void CheckProduct(const Matrix& a, const Element& b, const Matrix* start, const Matrix& out) {
  WorstShare share;
  for (int64_t r = 0; r < out.rows(); ++r) {
    for (int64_t c = 0; c < out.cols(); ++c) {
      Exact exact;
      for (int64_t k = 0; k < a.cols(); ++k) exact.Add(a.at(r, k), b(k, c));
      if (start != nullptr) exact.Add(start->at(r, c), 1);
      share.Check(out.at(r, c), exact, a.cols() + 1);
    }
  }
  EXPECT_TRUE(a.cols() == 1 || share.worst() > 1e-3) << share.worst();
}

TEST_P(MatMulTest, TransposedIsTheProductWithRows) {
  const Matrix b = RandomMatrix(shape_.cols, shape_.inner, 2);
  const Element element = [&](int64_t k, int64_t c) { return b.at(c, k); };
  Matrix out(shape_.rows, shape_.cols);
  MatMulTransposed(*Context(2), a_.view(), b.view(), out.view());
  CheckProduct(a_, element, nullptr, out);
  Matrix accumulated = Matrix::CopyOf(start_.view());
  MatMulTransposed(*Context(2), a_.view(), b.view(), accumulated.view(), /*accumulate=*/true);
  CheckProduct(a_, element, &start_, accumulated);
}

TEST_P(MatMulTest, PlainIsTheProductWithColumns) {
  const Matrix b = RandomMatrix(shape_.inner, shape_.cols, 2);
  const Element element = [&](int64_t k, int64_t c) { return b.at(k, c); };
  Matrix out(shape_.rows, shape_.cols);
  MatMul(*Context(2), a_.view(), b.view(), out.view());
  CheckProduct(a_, element, nullptr, out);
  Matrix accumulated = Matrix::CopyOf(start_.view());
  MatMul(*Context(2), a_.view(), b.view(), accumulated.view(), /*accumulate=*/true);
  CheckProduct(a_, element, &start_, accumulated);
}

TEST_P(MatMulTest, LeftTransposedIsTheProductOfColumns) {
  Matrix a(shape_.inner, shape_.rows);
  for (int64_t r = 0; r < a.rows(); ++r) {
    for (int64_t c = 0; c < a.cols(); ++c) a.at(r, c) = a_.at(c, r);
  }
  const Matrix b = RandomMatrix(shape_.inner, shape_.cols, 2);
  const Element element = [&](int64_t k, int64_t c) { return b.at(k, c); };
  Matrix out(shape_.rows, shape_.cols);
  MatMulLeftTransposed(*Context(2), a.view(), b.view(), out.view());
  CheckProduct(a_, element, nullptr, out);
  Matrix accumulated = Matrix::CopyOf(start_.view());
  MatMulLeftTransposed(*Context(2), a.view(), b.view(), accumulated.view(), /*accumulate=*/true);
  CheckProduct(a_, element, &start_, accumulated);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MatMulTest, testing::ValuesIn(kShapes));

TEST(MatMul, WritesNothingOutsideItsView) {
  const Matrix a = RandomMatrix(10, 12, 1);
  const Matrix b = RandomMatrix(9, 12, 2);
  Matrix wide(12, 20);
  for (float& value : wide.span()) value = 7;
  MatMulTransposed(*Context(1), a.view(), b.view(), wide.view().Rows(1, 10).Cols(4, 9));
  for (int64_t r = 0; r < wide.rows(); ++r) {
    for (int64_t c = 0; c < wide.cols(); ++c) {
      const bool inside = r >= 1 && r < 11 && c >= 4 && c < 13;
      EXPECT_EQ(wide.at(r, c) == 7, !inside) << r << " " << c;
    }
  }
}

// Sum over rows t of x[t, i] x[t, j].
Exact GramOf(const Matrix& x, int64_t i, int64_t j) {
  Exact exact;
  for (int64_t t = 0; t < x.rows(); ++t) exact.Add(x.at(t, i), x.at(t, j));
  return exact;
}

TEST(SyrkUpper, AddsTheUpperTriangleAndLeavesTheLower) {
  // 400: one tile of 384 and a part of the next. 70 tokens keep the reference cheap.
  const Matrix x = RandomMatrix(70, 400, 4);
  Matrix out(400, 400);
  for (float& value : out.span()) value = 0.5f;
  SyrkUpper(*Context(2), x.view(), out.view());
  WorstShare share;
  for (int64_t i = 0; i < 400; ++i) {
    for (int64_t j = 0; j < i; ++j) ASSERT_EQ(out.at(i, j), 0.5f);
    for (int64_t j = i; j < 400; ++j) {
      Exact exact = GramOf(x, i, j);
      exact.Add(0.5, 1);
      share.Check(out.at(i, j), exact, x.rows() + 1);
    }
  }
  EXPECT_GT(share.worst(), 1e-3);
}

TEST(AccumulateGram, ErrorIsThatOfOneChunkHoweverManyFollow) {
  // More than two chunks; of columns more than one tile of 256.
  const Matrix x = RandomMatrix(2 * kGramChunk + 100, 260, 5);
  std::vector<double> sums(260 * 260);
  AccumulateGram(*Context(2), x.view(), sums.data());
  WorstShare share;
  for (int64_t i = 0; i < 260; i += 13) {
    for (int64_t j = i; j < 260; ++j) share.Check(sums[i * 260 + j], GramOf(x, i, j), kGramChunk);
  }
  // Of the bound for a chunk little is used: errors of thousands of terms cancel.
  EXPECT_GT(share.worst(), 1e-5);
}

TEST(SubtractTransposedProduct, EqualsTheSumInF64) {
  const Matrix a = RandomMatrix(16, 40, 6);
  const Matrix b = RandomMatrix(16, 128, 7);
  const Matrix start = RandomMatrix(40, 128, 8);
  Matrix out = Matrix::CopyOf(start.view());
  SubtractTransposedProduct(a.view(), b.view(), out.view());
  WorstShare share;
  for (int64_t i = 0; i < 40; ++i) {
    for (int64_t j = 0; j < 128; ++j) {
      Exact exact;
      for (int64_t k = 0; k < 16; ++k) exact.Add(-a.at(k, i), b.at(k, j));
      exact.Add(start.at(i, j), 1);
      share.Check(out.at(i, j), exact, 17);
    }
  }
  EXPECT_GT(share.worst(), 1e-3);
}

TEST(QuadraticForm, EqualsTheTraceInF64) {
  const int64_t n = 300;  // more than one tile of columns
  const Matrix m = RandomMatrix(7, n, 9);
  Matrix h = RandomMatrix(n, n, 10);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) h.at(i, j) = h.at(j, i);
  }
  Exact exact;
  for (int64_t r = 0; r < m.rows(); ++r) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) exact.Add(static_cast<double>(m.at(r, i)) * h.at(i, j), m.at(r, j));
    }
  }
  // Each inner product of n terms is rounded in f32; the outer sum in f64 adds nothing to speak of.
  WorstShare().Check(QuadraticForm(m.view(), h.view()), exact, n);
}

// Bytes of every product of this file's functions, for one number of threads.
std::string AllResults(int threads) {
  const auto context = Context(threads);
  const Matrix x = RandomMatrix(300, 520, 11);
  const Matrix y = RandomMatrix(700, 520, 12);
  Matrix transposed(300, 700), plain(300, 520), left(520, 520), syrk(520, 520);
  std::vector<double> gram(520 * 520);
  MatMulTransposed(*context, x.view(), y.view(), transposed.view());
  MatMul(*context, x.view(), y.view().Rows(0, 520), plain.view());
  MatMulLeftTransposed(*context, x.view(), y.view().Rows(0, 300), left.view());
  SyrkUpper(*context, x.view(), syrk.view());
  AccumulateGram(*context, x.view(), gram.data());
  std::string bytes(reinterpret_cast<const char*>(gram.data()), gram.size() * sizeof(double));
  for (const Matrix* result : {&transposed, &plain, &left, &syrk}) {
    bytes.append(reinterpret_cast<const char*>(result->data()), static_cast<size_t>(result->size()) * sizeof(float));
  }
  return bytes;
}

TEST(Products, HaveTheSameBitsForAnyNumberOfThreads) {
  const std::string one = AllResults(1);
  EXPECT_TRUE(AllResults(2) == one);
  EXPECT_TRUE(AllResults(5) == one);
}

}  // namespace
}  // namespace quantd
