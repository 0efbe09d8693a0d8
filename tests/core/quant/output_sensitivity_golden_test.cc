// The sensitivity of gradients of a whole model against an independent reference in f64.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/formats/checkpoint.h"
#include "core/model/gradient_pass.h"
#include "core/quant/sensitivity.h"
#include "tests/core/quant/golden_case.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// The sensitivities of one block's sites, by module name within the block.
class Gatherer : public GradientObserver {
 public:
  Gatherer(const ExecutionContext& context, const std::vector<SitePlan>& plans) : context_(context) {
    for (const SitePlan& plan : plans) {
      if (plan.site.block == 0) sensitivities_[plan.site.name] = *MakeSensitivity(plan);
    }
  }
  absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) override {
    if (site.block != 0) return absl::OkStatus();
    return sensitivities_.at(site.name)->AddGradients(context_, x, delta);
  }
  const std::map<std::string, std::unique_ptr<Sensitivity>>& sensitivities() const { return sensitivities_; }

 private:
  const ExecutionContext& context_;
  std::map<std::string, std::unique_ptr<Sensitivity>> sensitivities_;
};

// ||a / mean diagonal - b / mean diagonal||_F over the norm of the second.
double RelativeDifference(const Matrix& a, const Matrix& b) {
  double trace_a = 0, trace_b = 0, difference = 0, norm = 0;
  for (int64_t i = 0; i < b.rows(); ++i) {
    trace_a += a.at(i, i);
    trace_b += b.at(i, i);
  }
  for (int64_t i = 0; i < b.size(); ++i) {
    const double want = b.data()[i] / trace_b;
    difference += std::pow(a.data()[i] / trace_a - want, 2);
    norm += want * want;
  }
  return std::sqrt(difference / norm);
}

TEST(OutputSensitivityGolden, HessiansAgreeWithFloat64) {
  const auto root = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(root, "golden/quant");
  int checked = 0;
  GoldenFiles files(*root);
  for (const Json& entry : GoldenEntries(*root, "oac")) {
    if (!entry["compare"].contains("H")) continue;
    const std::string folder = *root + "/" + entry["inputs"].get<std::string>();
    ASSERT_OK_AND_ASSIGN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(folder));
    ASSERT_OK_AND_ASSIGN(const auto model, Transformer::Open(folder, weights));
    const std::string file = entry["file"];
    const Matrix ids = files.Read(file, "input_ids");
    std::vector<TokenSequence> sequences;
    for (int64_t s = 0; s < ids.rows(); ++s) {
      sequences.emplace_back(ids.view().row_span(s).begin(), ids.view().row_span(s).end());
    }
    const auto context = *ExecutionContext::Create({.threads = 2});
    const Json overrides = {{"sensitivity", "output_adaptive"}, {"fisher", "sequence"}, {"group_size", -1}};
    const auto plans = PlanSites(*MakeRecipe("gptq", overrides, {}), model->sites()).value();
    Gatherer gatherer(*context, plans);
    auto pass = GradientPass::Create(*context, *model, sequences, {});
    ASSERT_OK(pass);
    ASSERT_OK(pass->Embed());
    ASSERT_OK(pass->Run(&gatherer, [](double) { return absl::OkStatus(); }));
    for (const auto& [name, sensitivity] : gatherer.sensitivities()) {
      const std::string tensor = "H." + name.substr(std::string("model.layers.0.").size());
      // As the goldens' index advises for single precision.
      EXPECT_LT(RelativeDifference(*sensitivity->Finish(*context), files.Read(file, tensor)), 1e-3) << name;
      ++checked;
    }
  }
  EXPECT_GE(checked, 7);
}

}  // namespace
}  // namespace quantd
