// Products with weights held as bit planes.
#ifndef QUANTD_CORE_COMPUTE_PLANES_PRODUCT_H_
#define QUANTD_CORE_COMPUTE_PLANES_PRODUCT_H_

#include "core/compute/binary_planes.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Up to so many rows of `a` are multiplied straight from the planes. More are worth decoding the weight for, a tile of
// rows at a time.
inline constexpr int64_t kMaxPlaneVectors = 8;

enum class PlaneArithmetic {
  kExact,    // tables in f32
  kRounded,  // inputs rounded to 14 bits, at most 256 of them with a common quantum; about twice as fast
};

struct PlanesProductOptions {
  bool accumulate = false;
  PlaneArithmetic arithmetic = PlaneArithmetic::kExact;
};

// out[m, n] = a[m, k] * weight[n, k]^T      (+ out when accumulate).
//
// Results are the same for any number of threads. For m <= kMaxPlaneVectors they are also the same for any instruction
// set, and differ from the exact product by at most
//     gamma_q * sum over inputs c of |a_c| * scale_g * (|base_g| + sum of steps_g)          kIntegers
//     gamma_q * sum over inputs c of |a_c| * (|offset_g| + 3 * sum of |alphas_g|)          kSigns
// with gamma_q = q u / (1 - q u), u = 2^-24, q = 2 + 64 + planes + 4 + spans: three roundings within a table, 63 more
// within a span of up to 64 tables, those of signs and scaling, and one a span (plane_kernels.h); spans is cols / 256
// or the number of groups, whatever is more, rounded up. kRounded adds the error of rounding the inputs, where
// largest_c is the largest magnitude among the inputs of c's span,
//     sum over inputs c of largest_c / 16300 * |weight_c|,
// (half a quantum and what rounds before) and needs less of gamma. For larger m they have the bits of MatMulTransposed
// with the decoded weight.
void MultiplyPlanes(const ExecutionContext& context, const MatrixView& a, const BinaryPlanes& weight,
                    MutableMatrixView out, const PlanesProductOptions& options = {});

// q of the bound above.
int64_t PlaneRoundings(const PlanesLayout& layout);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_PLANES_PRODUCT_H_
