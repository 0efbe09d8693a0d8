// Which layers are measured together, and that what plans count is what is done.
#include "core/pipeline/quantize_work.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/formats/checkpoint.h"
#include "core/pipeline/quantize_model.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

std::unique_ptr<Transformer> TinyModel() {
  const std::string folder = SourcePath("tests/data/arch/llama");
  return *Transformer::Open(folder, std::shared_ptr<const WeightSource>(*OpenCheckpoint(folder)));
}

std::vector<SitePlan> Plans(const Transformer& model, Json overrides, std::vector<LayerRule> rules = {}) {
  overrides["group_size"] = -1;
  return *PlanSites(*MakeRecipe("gptq", overrides, std::move(rules)), model.sites());
}

const Json kGradients = {{"sensitivity", "output_adaptive"}, {"true_sequential", false}};

std::vector<size_t> Sizes(const std::vector<SitePlans>& groups) {
  std::vector<size_t> sizes;
  for (const SitePlans& group : groups) sizes.push_back(group.size());
  return sizes;
}

TEST(Rounds, AreAsManyLayersAsFit) {
  const auto model = TinyModel();
  const std::vector<SitePlan> plans = Plans(*model, kGradients);
  const SitePlans pass = Passes(BlockPlans(*model, plans, 0)).front();
  ASSERT_EQ(pass.size(), 7u);
  // Six matrices of the hidden size, and that of down.
  const uint64_t one = StatisticsBytes({pass[0]}), down = StatisticsBytes({pass[6]});
  EXPECT_EQ(StatisticsBytes(pass), 6 * one + down);
  EXPECT_THAT(Sizes(Rounds(pass, 6 * one + down)), ElementsAre(7));
  EXPECT_THAT(Sizes(Rounds(pass, 6 * one + down - 1)), ElementsAre(6, 1));
  EXPECT_THAT(Sizes(Rounds(pass, 4 * one)), ElementsAre(4, 2, 1));
  EXPECT_THAT(Sizes(Rounds(pass, 0)), ElementsAre(1, 1, 1, 1, 1, 1, 1));
}

TEST(Rounds, LayersOfOneInputShareItsStatistics) {
  const auto model = TinyModel();
  const std::vector<SitePlan> plans = Plans(*model, {{"true_sequential", false}});
  const SitePlans pass = Passes(BlockPlans(*model, plans, 0)).front();
  const uint64_t one = StatisticsBytes({pass[0]});
  EXPECT_EQ(StatisticsBytes({pass[0], pass[1], pass[2]}), one);
  EXPECT_THAT(Sizes(Rounds(pass, 0)), ElementsAre(3, 1, 2, 1));
}

TEST(SharesOf, LeaveSomethingOfTheBudget) {
  for (const bool gradients : {false, true}) {
    const MemoryShares shares = SharesOf(1000, gradients);
    EXPECT_LT(shares.activations + shares.original_activations + shares.gradients + shares.statistics, 1000u);
    EXPECT_GT(SharesOf(0, gradients).statistics, uint64_t{1} << 60) << "no limit";
  }
}

// What the parts are said to cost is what QuantizeModel says it has done, whatever the passes and rounds.
TEST(QuantizeWorkRows, SumToTheWorkThatIsDone) {
  const auto model = TinyModel();
  std::vector<TokenSequence> calibration(3, TokenSequence{1, 5, 9, 2, 6, 5, 3, 5});
  for (int s = 0; s < 3; ++s) calibration[s][0] += s;
  for (Json overrides : {Json{{"sensitivity", "input"}}, Json{{"hessian_model", "boundary"}},
                         Json{{"hessian_model", "full"}}, Json{{"hessian_model", "prefix"}}}) {
    if (overrides.contains("hessian_model")) overrides["sensitivity"] = "output_adaptive";
    for (const bool in_order : {false, true}) {
      overrides["true_sequential"] = in_order;
      for (const uint64_t budget : {uint64_t{1'000}, uint64_t{100'000}, uint64_t{1} << 40}) {
        const std::vector<SitePlan> plans = Plans(*model, overrides);
        double planned = 0;
        const uint64_t statistics = SharesOf(budget, overrides.contains("hessian_model")).statistics;
        for (const WorkRow& row : QuantizeWorkRows(*model, plans, 24, statistics)) planned += row.multiply_adds;
        const auto context = *ExecutionContext::Create({.threads = 1, .memory_budget_bytes = budget});
        Progress progress(nullptr, nullptr);
        const auto sink = [](int, std::vector<QuantizedSite>) { return absl::OkStatus(); };
        ASSERT_OK(QuantizeModel(*context, *model, {plans, calibration, MakeTempDir()}, progress, sink));
        EXPECT_NEAR(progress.work_done() / planned, 1, 1e-9) << overrides.dump() << " " << budget;
      }
    }
  }
}

// One layer without gradients, alone in its round, between others.
TEST(QuantizeWorkRows, MixedLayersCountWhatEachWants) {
  const auto model = TinyModel();
  Json overrides = kGradients;
  overrides["hessian_model"] = "prefix";
  const LayerRule rule{"*.o_proj", SharedJson(Json{{"sensitivity", "input"}})};
  const std::vector<SitePlan> plans = Plans(*model, overrides, {rule});
  const std::vector<TokenSequence> calibration(2, TokenSequence{1, 5, 9, 2});
  const auto context = *ExecutionContext::Create({.threads = 1, .memory_budget_bytes = 1000});
  Progress progress(nullptr, nullptr);
  const auto sink = [](int, std::vector<QuantizedSite>) { return absl::OkStatus(); };
  ASSERT_OK(QuantizeModel(*context, *model, {plans, calibration, MakeTempDir()}, progress, sink));
  double planned = 0;
  for (const WorkRow& row : QuantizeWorkRows(*model, plans, 8, SharesOf(1000, true).statistics)) {
    planned += row.multiply_adds;
  }
  EXPECT_NEAR(progress.work_done() / planned, 1, 1e-9);
}

}  // namespace
}  // namespace quantd
