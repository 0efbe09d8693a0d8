// Jobs under the loss's own gradients: what reports say of them, and calibration that leaves little or nothing to
// measure.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "core/base/file_system.h"
#include "tests/core/pipeline/small_job.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

JobSpec GradientJob(const std::string& model_folder, Json overrides = Json::object()) {
  JobSpec spec = SmallJob(model_folder, "oac");
  spec.overrides = SharedJson(std::move(overrides));
  spec.calibration_sequences = 4;
  spec.evaluation_file.clear();
  return spec;
}

SmallRun NewRun(JobSpec spec) {
  const std::string folder = MakeTempDir();
  return {.spec = std::move(spec), .out = JoinPath(folder, "out"), .checkpoint = JoinPath(folder, "checkpoint")};
}

std::string ReadAll(const std::string& path) {
  return *RealFileSystem().ReadFile(path, 1 << 30);
}

// Attention's output is multiplied by zero: the layers before it change nothing.
std::string ModelWithADeadPath() {
  const std::string folder = ModelOfBlocks("quantd-tiny-llama", 2);
  FillTensor(folder, "model.layers.1.self_attn.o_proj.weight", 0);
  return folder;
}

void ExpectDeadLayers(const Report& report) {
  std::vector<std::string> dead;
  for (const ReportLayer& layer : report.layers) {
    if (layer.zero_sensitivity) dead.push_back(layer.name);
  }
  EXPECT_THAT(dead, ElementsAre("model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.k_proj",
                                "model.layers.1.self_attn.v_proj"));
  EXPECT_EQ(report.counters.at("zero_sensitivities"), 3);
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("1.self_attn.q_proj: its gradients are all zero"),
                                           HasSubstr("1.self_attn.k_proj: "), HasSubstr("1.self_attn.v_proj: ")));
}

TEST(GradientJob, ADeadPathIsNotedInEveryReport) {
  for (const char* fisher : {"token", "sequence"}) {
    const SmallRun run = NewRun(GradientJob(ModelWithADeadPath(), {{"fisher", fisher}}));
    ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
    ExpectDeadLayers(report);
    const Json json = *ReadJsonFile(JoinPath(run.out, "report.json"));
    for (const Json& layer : json["layers"]) {
      const std::string name = layer["name"];
      const bool dead = absl::StrContains(name, "1.self_attn.") && !absl::StrContains(name, "o_proj");
      EXPECT_EQ(layer["zero_sensitivity"], dead) << name;
    }
    const std::string html = ReadAll(JoinPath(run.out, "report.html"));
    EXPECT_THAT(html, AllOf(HasSubstr("no effect on the loss of the calibration text"),
                            HasSubstr("1.self_attn.k_proj: its gradients are all zero")));
  }
}

TEST(GradientJob, TheNoteSurvivesAKill) {
  const JobSpec spec = GradientJob(ModelWithADeadPath());
  SmallRun run = NewRun(spec);
  run.interval = absl::ZeroDuration();
  // Once in the middle of the block, when some of its dead layers are done.
  run.on_commit = [](const CheckpointNotice& notice) {
    for (const CheckpointFile& file : notice.files) {
      if (absl::StartsWith(file.path, "layer-00001-01")) Die();
    }
  };
  ASSERT_TRUE(RunUntilDeath(run));
  run.on_commit = nullptr;
  bool resumed = false;
  run.on_resume = [&](const CheckpointNotice&) { resumed = true; };
  ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
  EXPECT_TRUE(resumed);
  ExpectDeadLayers(report);
  const SmallRun whole = NewRun(spec);
  ASSERT_OK(RunSmallJob(whole));
  EXPECT_EQ(Digests(run.out), Digests(whole.out));
}

TEST(GradientJob, EveryReportNamesSensitivityAndOptions) {
  const std::string model = ModelOfBlocks("quantd-tiny-llama", 1);
  const auto sensitivity_of = [&](const char* preset) {
    JobSpec spec = SmallJob(model, preset);
    spec.overrides = SharedJson();
    spec.evaluation_file.clear();
    const SmallRun run = NewRun(spec);
    EXPECT_OK(RunSmallJob(run));
    const std::string text = (*ReadJsonFile(JoinPath(run.out, "report.json")))["layers"][0]["sensitivity"];
    EXPECT_THAT(ReadAll(JoinPath(run.out, "report.html")), HasSubstr(text));
    return text;
  };
  EXPECT_EQ(sensitivity_of("rtn"), "uniform");
  EXPECT_EQ(sensitivity_of("gptq"), "input, true_sequential=true, sensitivity_accumulation=f64");
  EXPECT_THAT(sensitivity_of("oac-binary"),
              AllOf(HasSubstr("output_adaptive, "), HasSubstr("hessian_model=boundary"), HasSubstr("fisher=token"),
                    HasSubstr("labels=sampled"), HasSubstr("shrinkage=0"), Not(HasSubstr("calibration_sequences"))));
}

TEST(GradientJob, LowPrecisionSaysWhatItChangesAlsoAfterAKill) {
  const JobSpec spec = GradientJob(ModelOfBlocks("quantd-tiny-llama", 2), {{"gradient_precision", "bf16"}});
  SmallRun run = NewRun(spec);
  run.interval = absl::ZeroDuration();
  int left = 20;
  run.on_commit = [&](const CheckpointNotice&) {
    if (--left == 0) Die();
    if (left < 0) left = 20;
  };
  int kills = 0;
  while (RunUntilDeath(run)) ASSERT_LT(++kills, 20);
  EXPECT_GE(kills, 1);
  const SmallRun whole = NewRun(spec);
  ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(whole));
  EXPECT_EQ(Digests(run.out), Digests(whole.out));
  for (const ReportLayer& layer : report.layers) {
    // 8 bits of mantissa: rounding moves each entry by at most 2^-9 of itself, and few of them cancel.
    ASSERT_TRUE(layer.precision_difference.has_value()) << layer.name;
    EXPECT_GT(*layer.precision_difference, 1e-5) << layer.name;
    EXPECT_LT(*layer.precision_difference, 0x1p-6) << layer.name;
  }
  EXPECT_THAT(ReadAll(JoinPath(whole.out, "report.html")), HasSubstr("precision changes the sensitivity by "));
  const Json json = *ReadJsonFile(JoinPath(run.out, "report.json"));
  EXPECT_EQ(json["layers"][0]["precision_difference"], *report.layers[0].precision_difference);
}

TEST(GradientJob, OneTokenHasNoLoss) {
  JobSpec spec = GradientJob(ModelOfBlocks("quantd-tiny-llama", 1));
  spec.calibration_length = 1;
  EXPECT_THAT(RunSmallJob(NewRun(spec)).status(), FailsWith("CALIBRATION_OUT_OF_RANGE", "from 2"));
  spec.calibration_length = 2;
  EXPECT_OK(RunSmallJob(NewRun(spec)));
}

TEST(GradientJob, IdenticalSequencesGiveAModelAndSayWhatWasDone) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += " the";
  JobSpec spec = GradientJob(ModelOfBlocks("quantd-tiny-llama", 2));
  spec.calibration_file = JoinPath(MakeTempDir(), "text.txt");
  ASSERT_OK(WriteFileDurably(RealFileSystem(), spec.calibration_file, text));
  for (const char* fisher : {"token", "sequence"}) {
    spec.overrides = SharedJson(Json{{"fisher", fisher}});
    ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(NewRun(spec)));
    for (const ReportLayer& layer : report.layers) {
      EXPECT_TRUE(layer.damping > 0 || layer.nearest_fallback) << layer.name;
      EXPECT_TRUE(std::isfinite(layer.relative_output_error)) << layer.name;
    }
  }
}

TEST(GradientJob, WhatIsNotFiniteNamesSequenceAndBlock) {
  // Files may hold no infinity, but what becomes one.
  constexpr float kHuge = 3e38f;
  const std::string at_the_end = ModelOfBlocks("quantd-tiny-llama", 2);
  FillTensor(at_the_end, "model.norm.weight", kHuge);
  EXPECT_THAT(RunSmallJob(NewRun(GradientJob(at_the_end))).status(),
              FailsWith("LOSS_NOT_FINITE", "sequence 0: the logits at position 0 behind the last block"));
  const std::string within = ModelOfBlocks("quantd-tiny-llama", 2);
  FillTensor(within, "model.layers.1.post_attention_layernorm.weight", kHuge);
  EXPECT_THAT(RunSmallJob(NewRun(GradientJob(within))).status(),
              FailsWith("ACTIVATIONS_NOT_FINITE", "sequence 0: the output of block 1"));
  JobSpec inputs = GradientJob(within);
  inputs.preset = "spqr";
  EXPECT_THAT(RunSmallJob(NewRun(inputs)).status(), FailsWith("NOT_FINITE_INPUT", "sequence 0, block 1: "));
}

}  // namespace
}  // namespace quantd
