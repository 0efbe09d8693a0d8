// One weight matrix and its plan, for tests of grids and solvers.
#ifndef QUANTD_TESTS_CORE_QUANT_TEST_SITE_H_
#define QUANTD_TESTS_CORE_QUANT_TEST_SITE_H_

#include <memory>
#include <vector>

#include "core/base/json.h"
#include "core/compute/execution_context.h"
#include "core/quant/quantize_site.h"
#include "core/quant/recipe.h"
#include "core/quant/uniform_weight.h"
#include "core/tensor/matrix.h"

namespace quantd {

std::unique_ptr<ExecutionContext> TestContext(int threads = 2);

// The plan of a site of this shape under `preset` with `overrides`. Group sizes need not divide: solvers handle a short
// last group, though plans for files refuse it.
SitePlan TestPlan(const char* preset, const Json& overrides, int64_t rows, int64_t cols);

// H = 2 X^T X / samples in f64, rounded: positive definite for more samples than columns.
Matrix TestHessian(int64_t cols, int64_t samples, uint64_t seed);

// Every code, row by row.
std::vector<uint8_t> CodesOf(const UniformWeight& weight);
// The result's weight as the uniform one it must be; fails the test otherwise.
const UniformWeight& AsUniform(const SiteResult& result);

// tr(D H D^T) in f64 for D = decoded - weight.
double OutputError(const QuantizedWeight& quantized, const Matrix& weight, const Matrix& hessian);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_QUANT_TEST_SITE_H_
