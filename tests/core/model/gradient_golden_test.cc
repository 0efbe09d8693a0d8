// Gradients of whole models against float64 references of an independent implementation, for every folder of the golden
// architectures.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/compute/matmul.h"
#include "core/formats/checkpoint.h"
#include "core/model/gradient_pass.h"
#include "tests/core/model/golden_tensors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

absl::Status GoOn(double) {
  return absl::OkStatus();
}

// Every sequence's gradient of every linear, by the name of its tensor and in the order of the sequences.
class WeightGradients : public GradientObserver {
 public:
  explicit WeightGradients(const ExecutionContext& context) : context_(context) {}
  absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) override {
    Matrix gradient(site.rows, site.cols);
    MatMulLeftTransposed(context_, delta, x, gradient.view());
    of_[site.name + ".weight"].push_back(std::move(gradient));
    return absl::OkStatus();
  }
  const std::vector<Matrix>& Of(const std::string& tensor) { return of_[tensor]; }

 private:
  const ExecutionContext& context_;
  std::map<std::string, std::vector<Matrix>> of_;
};

// Relative, in the Frobenius norm.
double Difference(const Matrix& got, const std::vector<float>& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(double{got.data()[i]} - want[i], 2);
    norm += std::pow(double{want[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

void CheckModel(const std::string& folder) {
  SCOPED_TRACE(folder);
  ASSERT_OK_AND_ASSIGN(SafetensorsFile file, SafetensorsFile::Open(folder + "/golden.safetensors"));
  const Golden golden(std::move(file));
  ASSERT_OK_AND_ASSIGN(const Json facts, ReadJsonFile(folder + "/golden.json"));
  ASSERT_OK_AND_ASSIGN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(folder));
  ASSERT_OK_AND_ASSIGN(const auto model, Transformer::Open(folder, weights));
  ASSERT_OK_AND_ASSIGN(const auto context, ExecutionContext::Create({.threads = 2}));
  const std::vector<double> losses = golden.Doubles("loss_per_sequence");
  std::vector<TokenSequence> sequences;
  for (size_t s = 0; s < losses.size(); ++s) sequences.push_back(golden.Ids(static_cast<int64_t>(s)));

  ASSERT_OK_AND_ASSIGN(GradientPass pass, GradientPass::Create(*context, *model, sequences, {}));
  ASSERT_OK(pass.Embed());
  WeightGradients gradients(*context);
  ASSERT_OK(pass.Run(&gradients, GoOn));

  // Ten times what the reference itself loses in float32; see golden/README.md.
  const Json& advice = facts.at("tolerance_advice");
  const double tolerance = advice.at("float32_grad_relative_norm").get<double>();
  int compared = 0;
  for (size_t s = 0; s < losses.size(); ++s) {
    EXPECT_NEAR(pass.losses()[s], losses[s], advice.at("float32_loss_max_abs").get<double>());
    const std::string prefix = "grad." + std::to_string(s) + ".";
    for (const std::string& name : golden.NamesWithPrefix(prefix)) {
      const std::vector<Matrix>& of_tensor = gradients.Of(name.substr(prefix.size()));
      ASSERT_EQ(of_tensor.size(), losses.size()) << name;
      EXPECT_LE(Difference(of_tensor[s], golden.Floats(name)), tolerance) << name;
      ++compared;
    }
  }
  EXPECT_GE(compared, 4 * static_cast<int>(losses.size()));
}

TEST(GoldenGradients, OfCommittedModelsAgreeWithFloat64) {
  EXPECT_EQ(ForEachGoldenModel(SourcePath("tests/data/arch"), CheckModel), 3);
}

TEST(GoldenGradients, OfAllSupportedModelsAgreeWithFloat64) {
  const auto root = GoldenPath("arch");
  SKIP_UNLESS_PRESENT(root, "golden/arch");
  EXPECT_GE(ForEachGoldenModel(*root, CheckModel), 1);
}

}  // namespace
}  // namespace quantd
