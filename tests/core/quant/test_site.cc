#include "tests/core/quant/test_site.h"

#include <nlohmann/json.hpp>

#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {

std::unique_ptr<ExecutionContext> TestContext(int threads) {
  return ExecutionContext::Create({.threads = threads}).value();
}

SitePlan TestPlan(const char* preset, const Json& overrides, int64_t rows, int64_t cols) {
  const LinearSite site{.name = "test.site", .rows = rows, .cols = cols, .scheme_group = "", .norm = ""};
  return {site, false, MakeRecipe(preset, overrides, {}).value().parameters};
}

Matrix TestHessian(int64_t cols, int64_t samples, uint64_t seed) {
  const Matrix x = RandomMatrix(samples, cols, seed);
  Matrix hessian(cols, cols);
  for (int64_t i = 0; i < cols; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < samples; ++t) sum += static_cast<double>(x.at(t, i)) * x.at(t, j);
      hessian.at(i, j) = hessian.at(j, i) = static_cast<float>(2 * sum / static_cast<double>(samples));
    }
  }
  return hessian;
}

std::vector<uint8_t> CodesOf(const UniformWeight& weight) {
  std::vector<uint8_t> codes(weight.rows() * weight.cols());
  for (int64_t r = 0; r < weight.rows(); ++r) {
    weight.CodesOfRow(r, absl::MakeSpan(codes).subspan(r * weight.cols(), weight.cols()));
  }
  return codes;
}

const UniformWeight& AsUniform(const SiteResult& result) {
  EXPECT_EQ(result.weight->kind(), "uniform");
  return static_cast<const UniformWeight&>(*result.weight);
}

double OutputError(const QuantizedWeight& quantized, const Matrix& weight, const Matrix& hessian) {
  const Matrix decoded = quantized.Decode();
  double total = 0;
  for (int64_t r = 0; r < weight.rows(); ++r) {
    for (int64_t i = 0; i < weight.cols(); ++i) {
      double product = 0;
      for (int64_t j = 0; j < weight.cols(); ++j) {
        product += static_cast<double>(hessian.at(i, j)) * (static_cast<double>(decoded.at(r, j)) - weight.at(r, j));
      }
      total += product * (static_cast<double>(decoded.at(r, i)) - weight.at(r, i));
    }
  }
  return total;
}

}  // namespace quantd
