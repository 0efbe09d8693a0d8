// The input sensitivity against its sum in f64, and inputs it must refuse.
#include "core/quant/sensitivity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/parameter_table.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kCols = 70;

std::unique_ptr<Sensitivity> Make(const char* accumulation = "f64") {
  const SitePlan plan = TestPlan("gptq", {{"sensitivity_accumulation", accumulation}}, 8, kCols);
  return MakeSensitivity(plan).value();
}

// Sequences of different lengths; one is empty and counts for nothing.
std::vector<Matrix> Sequences() {
  std::vector<Matrix> sequences;
  for (int64_t tokens : {1, 33, 0, 500, 128}) sequences.push_back(RandomMatrix(tokens, kCols, 81 + tokens));
  return sequences;
}

Matrix Gather(const char* accumulation, int threads) {
  const auto context = TestContext(threads);
  const auto sensitivity = Make(accumulation);
  for (const Matrix& inputs : Sequences()) EXPECT_OK(sensitivity->AddInputs(*context, inputs.view()));
  return sensitivity->Finish(*context).value();
}

TEST(InputSensitivity, IsTwiceTheMeanOfOuterProducts) {
  for (const char* accumulation : {"f64", "f32"}) {
    const Matrix hessian = Gather(accumulation, 2);
    for (int64_t i = 0; i < kCols; ++i) {
      for (int64_t j = 0; j < kCols; ++j) {
        double sum = 0, magnitude = 0;
        for (const Matrix& inputs : Sequences()) {
          for (int64_t t = 0; t < inputs.rows(); ++t) {
            sum += double{inputs.at(t, i)} * inputs.at(t, j);
            magnitude += std::abs(double{inputs.at(t, i)} * inputs.at(t, j));
          }
        }
        // Of 662 terms any order of summation in f32 costs 662 units of their magnitudes at most, rounding the result
        // one more; the factor is 2 over the four sequences that hold tokens.
        const double bound = 663 * 0x1p-24 * magnitude * 0.5;
        EXPECT_NEAR(hessian.at(i, j), 0.5 * sum, bound) << accumulation << " " << i << " " << j;
        EXPECT_EQ(hessian.at(i, j), hessian.at(j, i));
      }
    }
  }
}

TEST(InputSensitivity, BitsAreTheSameForAnyNumberOfThreads) {
  for (const char* accumulation : {"f64", "f32"}) {
    const Matrix one = Gather(accumulation, 1);
    for (int threads : {2, 5}) {
      const Matrix more = Gather(accumulation, threads);
      EXPECT_EQ(std::memcmp(one.data(), more.data(), static_cast<size_t>(one.size()) * sizeof(float)), 0);
    }
  }
}

TEST(InputSensitivity, RefusesInputsThatAreNotFiniteAndAddsNothing) {
  const auto context = TestContext();
  const auto touched = Make(), untouched = Make();
  const Matrix good = RandomMatrix(20, kCols, 90);
  for (const auto& sensitivity : {touched.get(), untouched.get()}) {
    ASSERT_OK(sensitivity->AddInputs(*context, good.view()));
  }
  for (float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Matrix bad = RandomMatrix(20, kCols, 91);
    bad.at(7, 69) = bad.at(12, 0) = value;
    const absl::Status status = touched->AddInputs(*context, bad.view());
    EXPECT_THAT(status, FailsWith("NOT_FINITE_INPUT", "token 7, feature 69"));
    EXPECT_THAT(status, FailsWith("NOT_FINITE_INPUT", "test.site"));
  }
  const Matrix after = touched->Finish(*context).value(), expected = untouched->Finish(*context).value();
  EXPECT_EQ(std::memcmp(after.data(), expected.data(), static_cast<size_t>(after.size()) * sizeof(float)), 0);
}

TEST(InputSensitivity, RefusesOtherWidthsAndNoDataAtAll) {
  const auto context = TestContext();
  const auto sensitivity = Make();
  EXPECT_THAT(sensitivity->Finish(*context), FailsWith("SENSITIVITY_NO_DATA", "test.site"));
  EXPECT_OK(sensitivity->AddInputs(*context, Matrix(0, kCols).view()));
  EXPECT_THAT(sensitivity->Finish(*context), FailsWith("SENSITIVITY_NO_DATA", "give calibration text"));
  EXPECT_THAT(sensitivity->AddInputs(*context, Matrix(3, kCols + 1).view()),
              FailsWith("INPUT_WIDTH_MISMATCH", "71 features, the layer has 70"));
}

TEST(UniformSensitivity, NeedsNothingAndGivesNothing) {
  const auto context = TestContext();
  const auto sensitivity = MakeSensitivity(TestPlan("rtn", Json::object(), 8, kCols)).value();
  EXPECT_FALSE(sensitivity->needs_inputs());
  EXPECT_EQ(sensitivity->Finish(*context).value().size(), 0);
}

// What a site must be refused for before any solver runs.
TEST(QuantizeSite, RefusesMatricesThatDoNotFitThePlan) {
  const auto context = TestContext();
  const SitePlan plan = TestPlan("gptq", {{"group_size", -1}}, 8, kCols);
  const Matrix weight = RandomMatrix(8, kCols, 92);
  const Matrix hessian = TestHessian(kCols, 2 * kCols, 93);
  EXPECT_OK(QuantizeSite(*context, plan, weight.view(), hessian));
  EXPECT_THAT(QuantizeSite(*context, plan, weight.view().Rows(0, 7), hessian),
              FailsWith("WEIGHT_SHAPE_MISMATCH", "test.site: weight is [7, 70], the plan says [8, 70]"));
  EXPECT_THAT(QuantizeSite(*context, plan, weight.view(), TestHessian(kCols - 1, 99, 94)),
              FailsWith("HESSIAN_SHAPE_MISMATCH", "test.site: sensitivity is [69, 69] for 70 inputs"));
  Matrix bad = Matrix::CopyOf(hessian.view());
  bad.at(4, 5) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(QuantizeSite(*context, plan, weight.view(), bad), FailsWith("HESSIAN_NOT_FINITE", "row 4, column 5"));
}

TEST(Sensitivity, SizeIsKnownBeforeItIsMade) {
  for (const Json& overrides :
       {Json{{"sensitivity", "input"}}, Json{{"sensitivity", "input"}, {"sensitivity_accumulation", "f32"}},
        Json{{"sensitivity", "output_adaptive"}}, Json{{"sensitivity", "output_adaptive"}, {"shrinkage", 0.5}},
        Json{{"sensitivity", "uniform"}, {"solver", "nearest"}}}) {
    SitePlan plan = TestPlan("gptq", Json::object(), 24, 40);
    for (const auto& [name, value] : overrides.items()) {
      plan.parameters.Set(name, ParameterFromJson(*FindParameter(name), value).value());
    }
    EXPECT_EQ(SensitivityBytes(plan), MakeSensitivity(plan).value()->memory_bytes()) << overrides.dump();
    plan.skip = true;
    EXPECT_EQ(SensitivityBytes(plan), 0u);
  }
}

}  // namespace
}  // namespace quantd
