// What a plan says before a job begins, against what the job then keeps and does.
#include "core/pipeline/job_estimate.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/pipeline/job_plan.h"
#include "tests/core/pipeline/small_job.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr int kBlocks = 3;
constexpr int64_t kHidden = 256, kTokens = 10 * 24;  // of SmallJob on quantd-tiny-llama

JobSpec GradientJob(Json overrides = Json::object()) {
  static const auto* const model = new std::string(ModelOfBlocks("quantd-tiny-llama", kBlocks));
  JobSpec spec = SmallJob(*model, "oac");
  overrides["true_sequential"] = overrides.value("true_sequential", false);
  spec.overrides = SharedJson(std::move(overrides));
  return spec;
}

JobEstimate EstimateOf(const JobSpec& spec, uint64_t budget_bytes = 0) {
  const auto plan = PlanJob({}, spec, budget_bytes);
  EXPECT_OK(plan);
  return plan.ok() ? plan->estimate : JobEstimate();
}

const BoundaryEstimate* Find(const JobEstimate& estimate, const std::string& name) {
  for (const BoundaryEstimate& row : estimate.boundaries) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

int64_t TimesOf(const JobEstimate& estimate, const std::string& beginning) {
  for (const WorkRow& row : estimate.work) {
    if (row.name.starts_with(beginning)) return row.times;
  }
  return 0;
}

TEST(JobEstimate, SaysHowOftenModelAndBlocksAreRun) {
  const JobEstimate boundary = EstimateOf(GradientJob());
  EXPECT_EQ(TimesOf(boundary, "passes over the original model"), 1);
  EXPECT_EQ(TimesOf(boundary, "blocks run forward and backward"), kBlocks);
  EXPECT_EQ(TimesOf(boundary, "layers quantized"), 7 * kBlocks);
  EXPECT_EQ(TimesOf(EstimateOf(GradientJob({{"true_sequential", true}})), "blocks run forward and backward"),
            4 * kBlocks);
  const JobEstimate prefix = EstimateOf(GradientJob({{"hessian_model", "prefix"}}));
  EXPECT_EQ(TimesOf(prefix, "passes over the original model"), 0);
  EXPECT_EQ(TimesOf(prefix, "passes over the blocks behind one"), kBlocks);
  double shares = 0;
  const Json json = prefix.ToJson();
  for (const Json& row : json["work"]) shares += row["share"].get<double>();
  EXPECT_NEAR(shares, 1, 1e-9);
  EXPECT_GT(prefix.multiply_adds, boundary.multiply_adds);
}

TEST(JobEstimate, SaysWhatIsKeptAtBoundariesAndWhere) {
  const int64_t one = 4 * kHidden * kTokens;
  const JobEstimate full = EstimateOf(GradientJob({{"hessian_model", "full"}}));
  ASSERT_NE(Find(full, "gradients"), nullptr);
  EXPECT_EQ(Find(full, "gradients")->boundaries, kBlocks + 1);
  EXPECT_EQ(Find(full, "gradients")->bytes, (kBlocks + 1) * one);
  EXPECT_EQ(Find(full, "gradients")->spilled_bytes, (kBlocks + 1 - 2) * one) << "two stay in memory";
  EXPECT_EQ(Find(full, "activations, original model")->bytes, one);
  EXPECT_EQ(Find(EstimateOf(GradientJob()), "activations, original model"), nullptr);
  EXPECT_THAT(EstimateText(full), AllOf(HasSubstr("hessian_model=full, labels=sampled"), HasSubstr("in memory"),
                                        HasSubstr("in mapped files")));
  // A quarter of this budget holds one boundary, if the layers fit beside them at all.
  JobSpec longer = GradientJob();
  longer.calibration_sequences = 400;
  const int64_t longer_one = 4 * kHidden * 400 * 24;
  const JobEstimate tight = EstimateOf(longer, static_cast<uint64_t>(4 * longer_one + 100));
  EXPECT_EQ(Find(tight, "gradients")->spilled_bytes, kBlocks * longer_one);
  EXPECT_THAT(EstimateText(tight), HasSubstr("MB of it in mapped files"));
  EXPECT_GT(tight.disk_bytes - EstimateOf(longer).disk_bytes, 0);
}

TEST(JobEstimate, SaysWhichLayersAreMeasuredTogether) {
  const JobEstimate wide = EstimateOf(GradientJob());
  ASSERT_EQ(wide.rounds.size(), 1u);
  EXPECT_EQ(wide.rounds[0].layers.size(), 7u);
  EXPECT_EQ(wide.rounds[0].statistics_bytes, 8 * (6 * 256 * 256 + 768 * 768));
  const JobEstimate tight = EstimateOf(GradientJob(), 24'000'000);
  ASSERT_EQ(tight.rounds.size(), 2u);
  EXPECT_EQ(tight.rounds[1].layers, std::vector<std::string>{"model.layers.0.mlp.down_proj"});
  EXPECT_EQ(TimesOf(tight, "blocks run forward and backward"), 2 * kBlocks);
  EXPECT_GT(tight.multiply_adds, wide.multiply_adds);
  EXPECT_THAT(EstimateText(tight), AllOf(HasSubstr("6.00 MB at once"), HasSubstr("again"), HasSubstr("down_proj")));
  const Json json = tight.ToJson();
  EXPECT_EQ(json["rounds"][1]["pass"], 1);
  EXPECT_EQ(json["statistics_budget_bytes"], 6'000'000);
}

TEST(JobEstimate, ABudgetTooSmallForOneLayerIsRefused) {
  // 8 bytes a weight of the block, 20 an element of the matrix of the widest layer.
  const uint64_t needed = 8 * 786'432 + 20 * 768 * 768;
  EXPECT_OK(PlanJob({}, GradientJob(), needed));
  const auto refused = PlanJob({}, GradientJob(), needed - 1);
  EXPECT_THAT(refused, FailsWith("MEMORY_BUDGET_EXCEEDED", "model.layers.0.mlp.down_proj"));
  for (const std::string& number : {absl::StrCat(20 * 768 * 768), absl::StrCat(needed), absl::StrCat(needed - 1)}) {
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr(number));
  }
}

TEST(JobEstimate, RulesThatContradictEachOtherAreRefusedBeforeAnyWork) {
  JobSpec spec = GradientJob();
  spec.rules = {{"*.down_proj", SharedJson(Json{{"labels", "data"}})}};
  EXPECT_THAT(PlanJob({}, spec, 0), FailsWith("RECIPE_ILLEGAL_COMBINATION", "labels"));
}

// The memory budget decides how often a block is run, and nothing else.
TEST(JobEstimate, ATightJobHasTheSameBytesAndTheWorkThatWasPlanned) {
  JobSpec spec = GradientJob({{"hessian_model", "full"}});
  spec.evaluation_file.clear();
  SmallRun wide{.spec = spec, .out = MakeTempDir() + "/out"}, tight{.spec = spec, .out = MakeTempDir() + "/out"};
  tight.memory_budget_bytes = 24'000'000;
  int64_t rounds = 0;
  std::set<std::string> texts;
  tight.on_plan = [&](const JobEstimate& estimate) { rounds = static_cast<int64_t>(estimate.rounds.size()); };
  tight.progress = [&](const ProgressState& state) { texts.insert(state.layer); };
  ASSERT_OK(RunSmallJob(wide));
  ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(tight));
  EXPECT_EQ(rounds, 2);
  EXPECT_EQ(Digests(tight.out), Digests(wide.out));
  EXPECT_NEAR(report.work.this_run / report.work.total, 1, 1e-9);
  for (const char* text : {"gradients of the original model: forward, block 2 of 3, sequence 4 of 10",
                           "gradients of the original model: loss, sequence 2 of 10",
                           "gradients of the original model: backward, block 1 of 3, sequence 10 of 10",
                           "block 3, pass 1 of 1: gradients, sequence 7 of 10 done"}) {
    EXPECT_EQ(texts.count(text), 1u) << text;
  }
}

}  // namespace
}  // namespace quantd
