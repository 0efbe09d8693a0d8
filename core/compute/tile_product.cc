#include "core/compute/tile_product.h"

#include <algorithm>

#include "core/compute/blas.h"

namespace quantd {

void SubtractTransposedProduct(const MatrixView& a, const MatrixView& b, MutableMatrixView out) {
  UseSingleThreadedBlas();
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out.rows, out.cols, a.rows, -1.0f, a.data, a.stride, b.data,
              b.stride, 1.0f, out.data, out.stride);
}

namespace {

// Columns of h multiplied at once.
constexpr int64_t kQuadraticTile = 256;

double InnerProduct(const MatrixView& a, const MatrixView& b) {
  double sum = 0;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) sum += static_cast<double>(a.at(r, c)) * b.at(r, c);
  }
  return sum;
}

}  // namespace

double QuadraticForm(const MatrixView& m, const MatrixView& h) {
  UseSingleThreadedBlas();
  Matrix product(m.rows, std::min(kQuadraticTile, h.cols));
  double sum = 0;
  for (int64_t col = 0; col < h.cols; col += kQuadraticTile) {
    const int64_t cols = std::min(kQuadraticTile, h.cols - col);
    const MutableMatrixView out = {product.data(), m.rows, cols, product.cols()};
    const auto multiply = [&](int64_t first, int64_t count) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m.rows, cols, count, 1.0f, m.data + first, m.stride,
                  h.row(first) + col, h.stride, 0.0f, out.data, out.stride);
      return InnerProduct(out, m.Cols(col, cols));
    };
    if (col > 0) sum += 2 * multiply(0, col);  // the part above the diagonal block stands for the one left of it
    sum += multiply(col, cols);
  }
  return sum;
}

}  // namespace quantd
