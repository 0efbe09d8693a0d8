#include "core/compute/factorization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

std::unique_ptr<ExecutionContext> Context(int threads) {
  return ExecutionContext::Create({.threads = threads}).value();
}

// X X^T / k + shift I, of condition number about (4 / 3 + shift) / shift for k >= n.
Matrix PositiveDefinite(int64_t n, float shift, uint64_t seed) {
  const int64_t k = n + 8;
  const Matrix x = RandomMatrix(n, k, seed);
  Matrix h(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < k; ++t) sum += static_cast<double>(x.at(i, t)) * x.at(j, t);
      h.at(i, j) = h.at(j, i) = static_cast<float>(sum / static_cast<double>(k));
    }
    h.at(i, i) += shift;
  }
  return h;
}

// The definition, in f64: R upper with H = R R^T from the last row up, then its inverse.
std::vector<double> ReferenceFactor(const Matrix& h) {
  const int64_t n = h.rows();
  std::vector<double> r(n * n);
  for (int64_t j = n - 1; j >= 0; --j) {
    for (int64_t i = j; i >= 0; --i) {
      double sum = h.at(i, j);
      for (int64_t k = j + 1; k < n; ++k) sum -= r[i * n + k] * r[j * n + k];
      r[i * n + j] = i == j ? std::sqrt(sum) : sum / r[j * n + j];
    }
  }
  std::vector<double> u(n * n);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j; i >= 0; --i) {
      double sum = i == j ? 1 : 0;
      for (int64_t k = i + 1; k <= j; ++k) sum -= r[i * n + k] * u[k * n + j];
      u[i * n + j] = sum / r[i * n + i];
    }
  }
  return u;
}

double LargestDifference(const Matrix& factor, const std::vector<double>& reference) {
  double largest = 0;
  for (int64_t i = 0; i < factor.size(); ++i) largest = std::max(largest, std::abs(factor.span()[i] - reference[i]));
  return largest;
}

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Both sides of a block of 128 and of the change from f64 to f32, and a size whose halves have ragged blocks.
class FactorizationTest : public testing::TestWithParam<int64_t> {};

TEST_P(FactorizationTest, EqualsTheDefinitionInF64) {
  const int64_t n = GetParam();
  const float shift = 0.1f;
  const Matrix h = PositiveDefinite(n, shift, 21);
  const std::vector<double> reference = ReferenceFactor(h);
  ASSERT_OK_AND_ASSIGN(const Matrix factor, InverseCholeskyUpper(*Context(2), Matrix::CopyOf(h.view())));
  // Small ones are computed in f64 and rounded once. For the others relative errors grow as the condition number of the
  // triangle, sqrt(1.5 / shift) < 4 for the factor and as much again for its inverse, times n u at worst; errors of n
  // terms cancel as sqrt(n), which leaves ample room for what the worst case is not.
  const double u = 0x1p-24;
  const double share = n <= kInverseCholeskyF64Size ? u : 16 * std::sqrt(static_cast<double>(n)) * u;
  EXPECT_LE(LargestDifference(factor, reference), share * Largest(reference));
}

TEST_P(FactorizationTest, ReadsTheUpperTriangleAndWritesZerosBelow) {
  const int64_t n = GetParam();
  const Matrix h = PositiveDefinite(n, 0.1f, 22);
  Matrix dirty = Matrix::CopyOf(h.view());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) dirty.at(i, j) = std::numeric_limits<float>::quiet_NaN();
  }
  ASSERT_OK_AND_ASSIGN(const Matrix clean_factor, InverseCholeskyUpper(*Context(1), Matrix::CopyOf(h.view())));
  ASSERT_OK_AND_ASSIGN(const Matrix factor, InverseCholeskyUpper(*Context(1), std::move(dirty)));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) ASSERT_EQ(factor.at(i, j), 0);
    for (int64_t j = i; j < n; ++j) ASSERT_EQ(factor.at(i, j), clean_factor.at(i, j));
  }
}

TEST_P(FactorizationTest, HasTheSameBitsForAnyNumberOfThreads) {
  const Matrix h = PositiveDefinite(GetParam(), 0.1f, 23);
  ASSERT_OK_AND_ASSIGN(const Matrix one, InverseCholeskyUpper(*Context(1), Matrix::CopyOf(h.view())));
  for (int threads : {2, 5}) {
    ASSERT_OK_AND_ASSIGN(const Matrix other, InverseCholeskyUpper(*Context(threads), Matrix::CopyOf(h.view())));
    EXPECT_TRUE(one.span() == other.span()) << threads;
  }
}

// One bad pivot, first, last or anywhere, is found whatever block it lies in.
TEST_P(FactorizationTest, RefusesWhatIsNotPositiveDefinite) {
  const int64_t n = GetParam();
  constexpr float kBadValues[] = {0, -1, std::numeric_limits<float>::quiet_NaN(),
                                  -std::numeric_limits<float>::infinity()};
  const Matrix good = PositiveDefinite(n, 0.1f, 24);
  for (int64_t where : {int64_t{0}, n / 2, n - 1}) {
    for (float bad : kBadValues) {
      Matrix h = Matrix::CopyOf(good.view());
      h.at(where, where) = bad;
      EXPECT_THAT(InverseCholeskyUpper(*Context(2), std::move(h)), FailsWith("NOT_POSITIVE_DEFINITE", "add damping"))
          << where << " " << bad;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, FactorizationTest, testing::Values(1, 2, 65, 512, 513, 650));

TEST(Factorization, RefusesInfinityBesideTheDiagonal) {
  for (int64_t n : {64, 600}) {
    Matrix h = PositiveDefinite(n, 0.1f, 25);
    h.at(3, n - 2) = std::numeric_limits<float>::infinity();
    EXPECT_THAT(InverseCholeskyUpper(*Context(2), std::move(h)), FailsWith("NOT_POSITIVE_DEFINITE", "x"));
  }
}

TEST(Factorization, RefusesASingularMatrixOnceRoundingMakesItIndefinite) {
  // Rank 1: the second pivot is exactly 1 - 1 = 0.
  for (int64_t n : {2, 600}) {
    Matrix h(n, n);
    for (float& value : h.span()) value = 1;
    EXPECT_THAT(InverseCholeskyUpper(*Context(2), std::move(h)), FailsWith("NOT_POSITIVE_DEFINITE", "x"));
  }
}

}  // namespace
}  // namespace quantd
