// Quantization under the loss's own gradients: the three models that they may be taken of, against each other.
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "core/formats/checkpoint.h"
#include "core/model/transformer.h"
#include "core/pipeline/quantize_model.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

std::unique_ptr<Transformer> ModelIn(const std::string& folder) {
  return *Transformer::Open(folder, std::shared_ptr<const WeightSource>(*OpenCheckpoint(folder)));
}

std::vector<TokenSequence> Sequences(int count, int length) {
  std::vector<TokenSequence> sequences;
  for (int s = 0; s < count; ++s) {
    TokenSequence ids;
    for (int t = 0; t < length; ++t) ids.push_back((s * 131 + t * 17 + t * t) % 300);
    sequences.push_back(ids);
  }
  return sequences;
}

std::vector<SitePlan> Plans(const Transformer& model, Json overrides) {
  overrides["group_size"] = -1;
  overrides["bits"] = 2;
  overrides["sensitivity"] = "output_adaptive";
  return *PlanSites(*MakeRecipe("gptq", overrides, {}), model.sites());
}

using Weights = std::map<std::string, Matrix>;

Weights Quantize(const Transformer& model, const Json& overrides, const std::vector<TokenSequence>& calibration,
                 int threads = 2, uint64_t memory_budget_bytes = 0) {
  const std::vector<SitePlan> plans = Plans(model, overrides);
  const auto context = *ExecutionContext::Create({.threads = threads, .memory_budget_bytes = memory_budget_bytes});
  Progress progress(nullptr, nullptr);
  Weights weights;
  const auto sink = [&](int, std::vector<QuantizedSite> sites) {
    for (const QuantizedSite& site : sites) weights[site.plan->site.name] = site.result.weight->Decode();
    return absl::OkStatus();
  };
  EXPECT_OK(QuantizeModel(*context, model, {plans, calibration, MakeTempDir()}, progress, sink));
  EXPECT_EQ(weights.size(), model.sites().size());
  return weights;
}

// Names of the layers that differ.
std::set<std::string> Different(const Weights& a, const Weights& b) {
  std::set<std::string> names;
  for (const auto& [name, weight] : a) {
    const Matrix& other = b.at(name);
    if (std::memcmp(weight.data(), other.data(), static_cast<size_t>(weight.size()) * sizeof(float)) != 0) {
      names.insert(name);
    }
  }
  return names;
}

// Nothing is quantized before the first block: all three take their gradients of the same model there.
TEST(OutputAdaptive, AllModelsAgreeOnTheFirstBlock) {
  const auto model = ModelIn(SourcePath("tests/data/arch/llama"));
  const auto calibration = Sequences(4, 48);
  const auto of = [&](const char* hessian_model) {
    return Quantize(*model, Json{{"hessian_model", hessian_model}, {"true_sequential", false}}, calibration);
  };
  const Weights boundary = of("boundary"), full = of("full"), prefix = of("prefix");
  for (const auto* other : {&full, &prefix}) {
    const std::set<std::string> different = Different(boundary, *other);
    EXPECT_FALSE(different.empty()) << "the blocks after the first see quantized inputs, or not";
    for (const std::string& name : different) EXPECT_EQ(name.find("layers.0."), std::string::npos) << name;
  }
  EXPECT_FALSE(Different(full, prefix).empty());
}

TEST(OutputAdaptive, BytesDependOnNeitherThreadsNorMemory) {
  const auto model = ModelIn(SourcePath("tests/data/arch/llama"));
  const auto calibration = Sequences(3, 40);
  for (const char* hessian_model : {"boundary", "full", "prefix"}) {
    for (const char* labels : {"data", "sampled"}) {
      const Json overrides = {{"hessian_model", hessian_model}, {"labels", labels}};
      const Weights plain = Quantize(*model, overrides, calibration);
      EXPECT_TRUE(Different(plain, Quantize(*model, overrides, calibration, /*threads=*/1)).empty())
          << overrides.dump();
      EXPECT_TRUE(Different(plain, Quantize(*model, overrides, calibration, 2, /*memory_budget_bytes=*/1000)).empty())
          << overrides.dump();
    }
  }
}

TEST(OutputAdaptive, EveryChoiceChangesSomething) {
  const auto model = ModelIn(SourcePath("tests/data/arch/llama"));
  const auto calibration = Sequences(4, 48);
  const Weights plain = Quantize(*model, Json::object(), calibration);
  for (const Json& overrides : {Json{{"labels", "sampled"}}, Json{{"fisher", "sequence"}}, Json{{"shrinkage", 0.5}},
                                Json{{"true_sequential", false}}}) {
    EXPECT_FALSE(Different(plain, Quantize(*model, overrides, calibration)).empty()) << overrides.dump();
  }
}

TEST(OutputAdaptive, IdenticalSequencesOfTwoTokensAreEnough) {
  const auto model = ModelIn(SourcePath("tests/data/arch/llama"));
  for (const char* fisher : {"token", "sequence"}) {
    const Weights weights = Quantize(*model, Json{{"fisher", fisher}}, {{5, 9}, {5, 9}, {5, 9}});
    for (const auto& [name, weight] : weights) {
      for (const float value : weight.span()) ASSERT_TRUE(std::isfinite(value)) << name;
    }
  }
}

absl::Status TryToQuantize(const Transformer& model, const std::vector<SitePlan>& plans,
                           const std::vector<TokenSequence>& calibration) {
  const auto context = *ExecutionContext::Create({.threads = 1});
  Progress progress(nullptr, nullptr);
  const auto sink = [](int, std::vector<QuantizedSite>) { return absl::OkStatus(); };
  return QuantizeModel(*context, model, {plans, calibration, MakeTempDir()}, progress, sink);
}

TEST(OutputAdaptive, RefusesWhatHasNoGradient) {
  const auto model = ModelIn(SourcePath("tests/data/arch/llama"));
  EXPECT_THAT(TryToQuantize(*model, Plans(*model, Json::object()), {{5}, {7}}),
              FailsWith("SEQUENCE_TOO_SHORT", "sequence 0"));
  std::vector<SitePlan> mixed = Plans(*model, Json::object());
  mixed.back().parameters.Set("hessian_model", std::string("full"));
  EXPECT_THAT(TryToQuantize(*model, mixed, Sequences(2, 16)), FailsWith("RECIPE_ILLEGAL_COMBINATION", "hessian_model"));
}

}  // namespace
}  // namespace quantd
