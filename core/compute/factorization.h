// Triangular factors of positive definite matrices.
#ifndef QUANTD_CORE_COMPUTE_FACTORIZATION_H_
#define QUANTD_CORE_COMPUTE_FACTORIZATION_H_

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Up to this size factors are computed in f64, where that costs next to nothing.
inline constexpr int64_t kInverseCholeskyF64Size = 512;

// The upper triangular U with U^T U = H^-1, for symmetric positive definite H [n, n], whose upper triangle is read; the
// lower triangle of the result is zero.
//
// Instead of the textbook's three steps (factor, invert, factor again: n^3 multiply-adds) H = R R^T is factored with R
// upper, which is the ordinary Cholesky factorization of H with rows and columns reversed; then U = R^-1, since
// (R^-1)^T R^-1 = (R R^T)^-1. That takes n^3 / 3 multiply-adds.
//
// The result does not depend on the number of threads. NOT_POSITIVE_DEFINITE (FAILED_PRECONDITION) when a pivot is not
// positive, or a value of the triangle not finite.
absl::StatusOr<Matrix> InverseCholeskyUpper(const ExecutionContext& context, Matrix h);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_FACTORIZATION_H_
