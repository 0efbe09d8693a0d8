// Products that one thread computes inside a loop of the pool: callers cut the work into fixed tiles themselves.
#ifndef QUANTD_CORE_COMPUTE_TILE_PRODUCT_H_
#define QUANTD_CORE_COMPUTE_TILE_PRODUCT_H_

#include "core/tensor/matrix.h"

namespace quantd {

// out[m, n] -= a[k, m]^T * b[k, n].
void SubtractTransposedProduct(const MatrixView& a, const MatrixView& b, MutableMatrixView out);

// tr(m * h * m^T) for m [rows, n] and symmetric h [n, n]. Products in f32, their sum in f64.
double QuadraticForm(const MatrixView& m, const MatrixView& h);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_TILE_PRODUCT_H_
