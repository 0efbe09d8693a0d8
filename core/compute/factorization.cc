#include "core/compute/factorization.h"

#include <algorithm>
#include <atomic>

#include "absl/strings/str_format.h"
#include "core/base/checked.h"
#include "core/base/status.h"
#include "core/compute/blas.h"

// LAPACK, column-major. Not from lapacke.h, whose row-major forms transpose copies.
extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info);
void strtri_(const char* uplo, const char* diag, const int* n, float* a, const int* lda, int* info);
}

namespace quantd {
namespace {

// Diagonal blocks of this size are factored by one thread; everything else is products over tiles. Fixed, so that
// results are.
constexpr int64_t kBase = 128;
constexpr int64_t kTile = 256;

// Splits n > kBase: a multiple of kBase near the middle.
int64_t SplitPoint(int64_t n) {
  return CeilDiv(CeilDiv(n, kBase), 2) * kBase;
}

// Blocked algorithms on lower triangles, by halves:  A = [A11 . ; A21 A22].
class LowerTriangle {
 public:
  explicit LowerTriangle(const ExecutionContext& context) : context_(context) {}

  // A = L L^T in place. False when a pivot is not positive.
  bool Factor(MutableMatrixView a) const {
    if (a.rows <= kBase) return FactorBase(a);
    const Halves h = Split(a);
    if (!Factor(h.a11)) return false;
    SolveRight(h.a11, h.a21);           // L21 = A21 L11^-T
    SubtractSelfProduct(h.a21, h.a22);  // A22 - L21 L21^T
    return Factor(h.a22);
  }

  // L := L^-1 in place:  [L11^-1 . ; -L22^-1 L21 L11^-1  L22^-1].
  void Invert(MutableMatrixView l) const {
    if (l.rows <= kBase) return InvertBase(l);
    const Halves h = Split(l);
    DivideBothSides(h);
    Invert(h.a11);
    Invert(h.a22);
  }

 private:
  struct Halves {
    MutableMatrixView a11, a21, a22;
  };
  static Halves Split(const MutableMatrixView& a) {
    const int64_t n1 = SplitPoint(a.rows);
    const int64_t n2 = a.rows - n1;
    return {a.Rows(0, n1).Cols(0, n1), a.Rows(n1, n2).Cols(0, n1), a.Rows(n1, n2).Cols(n1, n2)};
  }

  // Row-major lower is LAPACK's column-major upper.
  static bool FactorBase(MutableMatrixView a) {
    const int n = static_cast<int>(a.rows);
    const int stride = static_cast<int>(a.stride);
    int info = 0;
    spotrf_("U", &n, a.data, &stride, &info);
    return info == 0;
  }
  static void InvertBase(MutableMatrixView l) {
    const int n = static_cast<int>(l.rows);
    const int stride = static_cast<int>(l.stride);
    int info = 0;  // a zero pivot cannot come: the factor's are positive
    strtri_("U", "N", &n, l.data, &stride, &info);
  }

  // b := b l^-T, strips of rows in parallel.
  void SolveRight(const MatrixView& l, MutableMatrixView b) const {
    ForStrips(b.rows, [&](int64_t first, int64_t count) {
      cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, count, b.cols, 1.0f, l.data,
                  l.stride, b.row(first), b.stride);
    });
  }

  // c -= a a^T, lower triangle, tiles in parallel.
  void SubtractSelfProduct(const MatrixView& a, MutableMatrixView c) const {
    const int64_t tiles = CeilDiv(c.rows, kTile);
    context_.pool().ParallelFor(tiles * (tiles + 1) / 2, [&](int64_t index) {
      int64_t i = 0;
      while ((i + 1) * (i + 2) / 2 <= index) ++i;
      const int64_t row = i * kTile;
      const int64_t col = (index - i * (i + 1) / 2) * kTile;
      const int64_t rows = std::min(kTile, c.rows - row);
      const int64_t cols = std::min(kTile, c.rows - col);
      if (row == col) {
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, rows, a.cols, -1.0f, a.row(row), a.stride, 1.0f,
                    c.row(row) + col, c.stride);
      } else {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, cols, a.cols, -1.0f, a.row(row), a.stride,
                    a.row(col), a.stride, 1.0f, c.row(row) + col, c.stride);
      }
    });
  }

  // a21 := -a22^-1 a21 a11^-1, rows first, then columns.
  void DivideBothSides(const Halves& h) const {
    ForStrips(h.a21.rows, [&](int64_t first, int64_t count) {
      cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, count, h.a21.cols, -1.0f,
                  h.a11.data, h.a11.stride, h.a21.row(first), h.a21.stride);
    });
    ForStrips(h.a21.cols, [&](int64_t first, int64_t count) {
      cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, h.a21.rows, count, 1.0f, h.a22.data,
                  h.a22.stride, h.a21.data + first, h.a21.stride);
    });
  }

  template <typename Body>
  void ForStrips(int64_t count, const Body& body) const {
    context_.pool().ParallelFor(CeilDiv(count, kTile),
                                [&](int64_t strip) { body(strip * kTile, std::min(kTile, count - strip * kTile)); });
  }

  const ExecutionContext& context_;
};

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

}  // namespace

absl::StatusOr<Matrix> InverseCholeskyUpper(const ExecutionContext& context, Matrix h) {
  UseSingleThreadedBlas();
  ReverseRowsAndColumns(context, h);
  const LowerTriangle lower(context);
  if (!lower.Factor(h.view())) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "NOT_POSITIVE_DEFINITE",
                       absl::StrFormat("the %d x %d matrix is not positive definite; add damping", h.rows(), h.cols()));
  }
  lower.Invert(h.view());
  ClearAboveDiagonal(context, h);
  ReverseRowsAndColumns(context, h);
  return h;
}

}  // namespace quantd
