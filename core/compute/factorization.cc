#include "core/compute/factorization.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/base/checked.h"
#include "core/base/status.h"
#include "core/compute/blas.h"

// LAPACK, column-major. Not from lapacke.h, whose row-major forms transpose copies.
extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info);
void strtri_(const char* uplo, const char* diag, const int* n, float* a, const int* lda, int* info);
void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
void dtrtri_(const char* uplo, const char* diag, const int* n, double* a, const int* lda, int* info);
}

namespace quantd {
namespace {

// Diagonal blocks of this size are factored by one thread; everything else is products over tiles of these sizes.
// Fixed, so that results do not depend on the number of threads.
constexpr int64_t kBase = 128;
constexpr int64_t kWide = 256;
// Along the side where a triangle's zeros end, tiles are narrower: what they multiply beyond the diagonal is wasted.
constexpr int64_t kNarrow = 128;

// Splits n > kBase: a multiple of kBase near the middle.
int64_t SplitPoint(int64_t n) {
  return CeilDiv(CeilDiv(n, kBase), 2) * kBase;
}

struct Tile {
  int64_t row, rows, col, cols;
};

// The inverse of the Cholesky factor, in place and by halves. With A = [A11 . ; A21 A22] = L L^T and M = L^-1:
//     M11 from A11;  L21 = A21 M11^T;  M22 from A22 - L21 L21^T;  M21 = -M22 L21 M11.
// Having M11 at hand, every step is a product, which BLAS does at its full rate: triangular solves pack the whole
// triangle again for each strip.
class InverseOfFactor {
 public:
  InverseOfFactor(const ExecutionContext& context, int64_t n)
      : context_(context), scratch_(SplitPoint(n), SplitPoint(n)) {}

  // Lower triangle of a: in A, out M. The part above the diagonal is zero before and after. False when a pivot is not
  // positive.
  bool Run(MutableMatrixView a) {
    if (a.rows <= kBase) return RunBase(a);
    const int64_t n1 = SplitPoint(a.rows);
    const int64_t n2 = a.rows - n1;
    const MutableMatrixView m11 = a.Rows(0, n1).Cols(0, n1);
    const MutableMatrixView a21 = a.Rows(n1, n2).Cols(0, n1);
    const MutableMatrixView m22 = a.Rows(n1, n2).Cols(n1, n2);
    const MutableMatrixView scratch = {scratch_.data(), n2, n1, n1};
    if (!Run(m11)) return false;
    TimesTransposedLower(a21, m11, scratch);
    Copy(scratch, a21);
    SubtractSelfProduct(a21, m22);
    if (!Run(m22)) return false;
    TimesLower(a21, m11, scratch);
    MinusLowerTimes(m22, scratch, a21);
    return true;
  }

 private:
  // Row-major lower is LAPACK's column-major upper.
  static bool RunBase(MutableMatrixView a) {
    const int n = static_cast<int>(a.rows);
    const int stride = static_cast<int>(a.stride);
    int info = 0;
    spotrf_("U", &n, a.data, &stride, &info);
    if (info == 0) strtri_("U", "N", &n, a.data, &stride, &info);
    return info == 0;
  }

  template <typename Body>
  void ForTiles(const MutableMatrixView& out, int64_t tile_rows, int64_t tile_cols, const Body& body) const {
    const int64_t across = CeilDiv(out.cols, tile_cols);
    context_.pool().ParallelFor(CeilDiv(out.rows, tile_rows) * across, [&](int64_t index) {
      const int64_t row = index / across * tile_rows;
      const int64_t col = index % across * tile_cols;
      body(Tile{row, std::min(tile_rows, out.rows - row), col, std::min(tile_cols, out.cols - col)});
    });
  }

  // out = a l^T: column c of it needs columns 0..c of a.
  void TimesTransposedLower(const MatrixView& a, const MatrixView& l, MutableMatrixView out) const {
    ForTiles(out, kWide, kNarrow, [&](const Tile& t) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t.rows, t.cols, t.col + t.cols, 1.0f, a.row(t.row), a.stride,
                  l.row(t.col), l.stride, 0.0f, out.row(t.row) + t.col, out.stride);
    });
  }

  // out = a l: column c of it needs columns c.. of a.
  void TimesLower(const MatrixView& a, const MatrixView& l, MutableMatrixView out) const {
    ForTiles(out, kWide, kNarrow, [&](const Tile& t) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t.rows, t.cols, a.cols - t.col, 1.0f, a.row(t.row) + t.col,
                  a.stride, l.row(t.col) + t.col, l.stride, 0.0f, out.row(t.row) + t.col, out.stride);
    });
  }

  // out = -l b: row r of it needs rows 0..r of b.
  void MinusLowerTimes(const MatrixView& l, const MatrixView& b, MutableMatrixView out) const {
    ForTiles(out, kNarrow, kWide, [&](const Tile& t) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t.rows, t.cols, t.row + t.rows, -1.0f, l.row(t.row),
                  l.stride, b.data + t.col, b.stride, 0.0f, out.row(t.row) + t.col, out.stride);
    });
  }

  // c -= a a^T, lower triangle.
  void SubtractSelfProduct(const MatrixView& a, MutableMatrixView c) const {
    ForTiles(c, kWide, kWide, [&](const Tile& t) {
      if (t.col > t.row) return;
      if (t.row == t.col) {
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, t.rows, a.cols, -1.0f, a.row(t.row), a.stride, 1.0f,
                    c.row(t.row) + t.col, c.stride);
      } else {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t.rows, t.cols, a.cols, -1.0f, a.row(t.row), a.stride,
                    a.row(t.col), a.stride, 1.0f, c.row(t.row) + t.col, c.stride);
      }
    });
  }

  void Copy(const MatrixView& from, MutableMatrixView to) const {
    context_.pool().ParallelFor(CeilDiv(from.rows, kNarrow), [&](int64_t strip) {
      const int64_t end = std::min((strip + 1) * kNarrow, from.rows);
      for (int64_t row = strip * kNarrow; row < end; ++row) std::copy_n(from.row(row), from.cols, to.row(row));
    });
  }

  const ExecutionContext& context_;
  Matrix scratch_;  // L21 of the current level, or a product on the way
};

// The same for a small matrix, by one thread in f64.
bool InverseOfFactorInF64(Matrix& matrix) {
  const int n = static_cast<int>(matrix.rows());
  std::vector<double> wide(matrix.span().begin(), matrix.span().end());
  int info = 0;
  dpotrf_("U", &n, wide.data(), &n, &info);
  if (info == 0) dtrtri_("U", "N", &n, wide.data(), &n, &info);
  std::transform(wide.begin(), wide.end(), matrix.data(), [](double value) { return static_cast<float>(value); });
  return info == 0;
}

// Reverses rows and columns: of a square matrix without gaps that is its elements backwards.
void ReverseRowsAndColumns(const ExecutionContext& context, Matrix& matrix) {
  const int64_t n = matrix.rows();
  context.pool().ParallelFor(n / 2, [&](int64_t row) {
    std::swap_ranges(matrix.row(row), matrix.row(row) + n, std::make_reverse_iterator(matrix.row(n - 1 - row) + n));
  });
  if (n % 2 == 1) std::reverse(matrix.row(n / 2), matrix.row(n / 2) + n);
}

void ClearAboveDiagonal(const ExecutionContext& context, Matrix& matrix) {
  context.pool().ParallelFor(
      matrix.rows(), [&](int64_t row) { std::fill(matrix.row(row) + row + 1, matrix.row(row) + matrix.cols(), 0.0f); });
}

// A value that is not finite makes the pivot of its row NaN, which LAPACK's own test lets through.
bool DiagonalIsPositive(const Matrix& matrix) {
  for (int64_t i = 0; i < matrix.rows(); ++i) {
    if (!(matrix.at(i, i) > 0) || !std::isfinite(matrix.at(i, i))) return false;
  }
  return true;
}

bool InvertFactor(const ExecutionContext& context, Matrix& matrix) {
  const bool factored = matrix.rows() <= kInverseCholeskyF64Size
                            ? InverseOfFactorInF64(matrix)
                            : InverseOfFactor(context, matrix.rows()).Run(matrix.view());
  return factored && DiagonalIsPositive(matrix);
}

}  // namespace

absl::StatusOr<Matrix> InverseCholeskyUpper(const ExecutionContext& context, Matrix h) {
  UseSingleThreadedBlas();
  ReverseRowsAndColumns(context, h);
  ClearAboveDiagonal(context, h);
  if (!InvertFactor(context, h)) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "NOT_POSITIVE_DEFINITE",
                       absl::StrFormat("the %d x %d matrix is not positive definite; add damping", h.rows(), h.cols()));
  }
  ReverseRowsAndColumns(context, h);
  return h;
}

}  // namespace quantd
