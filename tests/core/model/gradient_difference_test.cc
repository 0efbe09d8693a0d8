// Gradients of whole small models of every family against finite differences of their loss.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/compute/matmul.h"
#include "core/model/gradient_pass.h"
#include "tests/core/model/small_models.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

absl::Status GoOn(double) {
  return absl::OkStatus();
}

// The gradient of every linear, by site.
class WeightGradients : public GradientObserver {
 public:
  explicit WeightGradients(const ExecutionContext& context) : context_(context) {}
  absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) override {
    Matrix& gradient = of_[site.name];
    gradient = Matrix(site.rows, site.cols);
    MatMulLeftTransposed(context_, delta, x, gradient.view());
    return absl::OkStatus();
  }
  const Matrix& Of(const LinearSite& site) const { return of_.at(site.name); }

 private:
  const ExecutionContext& context_;
  std::map<std::string, Matrix> of_;
};

double Norm(const Matrix& matrix) {
  double sum = 0;
  for (const float value : matrix.span()) sum += double{value} * value;
  return std::sqrt(sum);
}

class GradientDifferenceTest : public testing::TestWithParam<SmallModel> {
 protected:
  // The loss when `scale` times `direction` is added to the weight of a site.
  double Loss(const LinearSite& site, const Matrix& direction, double scale) const {
    GradientPassOptions options;
    options.first_block = model_->config().blocks;
    GradientPass pass = GradientPass::Create(*context_, *model_, sequences_, options).value();
    const MutableMatrixView hidden = pass.boundary(model_->config().blocks).sequence(0);
    EXPECT_OK(model_->Embed(*context_, sequences_[0], 0, hidden));
    for (int b = 0; b < model_->config().blocks; ++b) {
      Block block = model_->LoadBlock(b).value();
      if (b == site.block) {
        const absl::Span<float> weight = block.linears[site.index].weight.span();
        for (size_t i = 0; i < weight.size(); ++i) weight[i] += static_cast<float>(scale * direction.data()[i]);
      }
      EXPECT_OK(model_->ForwardBlock(*context_, block, {}, hidden));
    }
    EXPECT_OK(pass.Run(nullptr, GoOn));
    return pass.losses()[0];
  }

  void Check(const LinearSite& site, const Matrix& gradient) const;

  const std::unique_ptr<Transformer> model_ = OpenSmallModel(GetParam());
  const std::unique_ptr<ExecutionContext> context_ = ExecutionContext::Create({.threads = 1}).value();
  const std::vector<TokenSequence> sequences_ = {RandomTokens(*model_, 20, 1)};
};

// Along the gradient itself the slope is its norm; a gradient that is wrong in any direction has another norm than its
// share of the true slope. Central differences of one and two steps are extrapolated; what that leaves is less than
// what it corrects. The loss is rounded: 2e-6 is ten times what a reference loses in f32 on models of this size
// (float32_loss_max_abs of the goldens).
void GradientDifferenceTest::Check(const LinearSite& site, const Matrix& gradient) const {
  constexpr double kLossError = 2e-6;
  constexpr double kLossChange = 0.02;  // of one step
  const double norm = Norm(gradient);
  ASSERT_GT(norm, 0) << site.name;
  const double step = kLossChange / (norm * norm);  // along the gradient, not normalized
  const double one = (Loss(site, gradient, step) - Loss(site, gradient, -step)) / (2 * step);
  const double two = (Loss(site, gradient, 2 * step) - Loss(site, gradient, -2 * step)) / (4 * step);
  const double slope = (4 * one - two) / 3;
  const double tolerance = std::abs(one - two) / 3 + 2 * kLossError / step;
  EXPECT_NEAR(slope, norm * norm, tolerance) << site.name;
  EXPECT_LT(tolerance, 0.05 * norm * norm) << site.name << ": too wide to notice an error";
}

TEST_P(GradientDifferenceTest, OfEveryLinearIsThatOfTheLoss) {
  GradientPass pass = GradientPass::Create(*context_, *model_, sequences_, {}).value();
  ASSERT_OK(pass.Embed());
  WeightGradients gradients(*context_);
  ASSERT_OK(pass.Run(&gradients, GoOn));
  for (const LinearSite& site : model_->sites()) Check(site, gradients.Of(site));
}

// Steps of any size cross some of ReLU's kinks, where differences say little: layer_backward_test.cc and the goldens
// have it.
std::vector<SmallModel> SmoothModels() {
  std::vector<SmallModel> models;
  for (const SmallModel& model : SmallModels()) {
    if (OpenSmallModel(model)->config().activation != Activation::kRelu) models.push_back(model);
  }
  return models;
}

INSTANTIATE_TEST_SUITE_P(Families, GradientDifferenceTest, testing::ValuesIn(SmoothModels()),
                         [](const auto& row) { return SmallModelName(row.param); });

}  // namespace
}  // namespace quantd
