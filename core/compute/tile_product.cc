#include "core/compute/tile_product.h"

#include "core/compute/blas.h"

namespace quantd {

void SubtractTransposedProduct(const MatrixView& a, const MatrixView& b, MutableMatrixView out) {
  UseSingleThreadedBlas();
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out.rows, out.cols, a.rows, -1.0f, a.data, a.stride, b.data,
              b.stride, 1.0f, out.data, out.stride);
}

double QuadraticForm(const MatrixView& m, const MatrixView& h) {
  UseSingleThreadedBlas();
  Matrix product(m.rows, h.cols);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m.rows, h.cols, m.cols, 1.0f, m.data, m.stride, h.data,
              h.stride, 0.0f, product.data(), product.cols());
  double sum = 0;
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) sum += static_cast<double>(product.at(r, c)) * m.at(r, c);
  }
  return sum;
}

}  // namespace quantd
