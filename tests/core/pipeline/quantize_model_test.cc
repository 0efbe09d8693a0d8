// Block-by-block quantization against its definition, on a model small enough to do it the slow way.
#include "core/pipeline/quantize_model.h"

#include <cmath>
#include <map>

#include "core/formats/checkpoint.h"
#include "core/quant/sensitivity.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

std::unique_ptr<Transformer> TinyModel() {
  const std::string folder = SourcePath("tests/data/arch/llama");
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

std::vector<SitePlan> Plans(const Transformer& model, const char* preset, Json overrides) {
  overrides["group_size"] = -1;
  return *PlanSites(*MakeRecipe(preset, overrides, {}), model.sites());
}

std::map<std::string, Matrix> QuantizeAll(const Transformer& model, const std::vector<SitePlan>& plans,
                                          const std::vector<TokenSequence>& calibration,
                                          uint64_t memory_budget_bytes = 0) {
  const auto context = *ExecutionContext::Create({.threads = 2, .memory_budget_bytes = memory_budget_bytes});
  Progress progress(nullptr, nullptr);
  std::map<std::string, Matrix> weights;
  const auto sink = [&](int, std::vector<QuantizedSite> sites) {
    for (const QuantizedSite& site : sites) weights[site.plan->site.name] = site.result.weight->Decode();
    return absl::OkStatus();
  };
  EXPECT_OK(QuantizeModel(*context, model, {plans, calibration, MakeTempDir()}, progress, sink));
  return weights;
}

// What reaches `site` when the block runs with the weights given so far: collected the obvious way.
class OneInput : public InputObserver {
 public:
  OneInput(const ExecutionContext& context, const SitePlan& plan)
      : context_(context), plan_(plan), sensitivity_(*MakeSensitivity(plan)) {}
  absl::Status OnInput(const LinearSite& site, const MatrixView& input) override {
    return site.name == plan_.site.name ? sensitivity_->AddInputs(context_, input) : absl::OkStatus();
  }
  Matrix Finish() { return *sensitivity_->Finish(context_); }

 private:
  const ExecutionContext& context_;
  const SitePlan& plan_;
  std::unique_ptr<Sensitivity> sensitivity_;
};

// True sequential by its definition: for every site a fresh pass of all sequences through the whole quantized prefix.
std::map<std::string, Matrix> QuantizeSlowly(const Transformer& model, const std::vector<SitePlan>& plans,
                                             const std::vector<TokenSequence>& calibration) {
  const auto context = *ExecutionContext::Create({.threads = 1});
  std::map<std::string, Matrix> done;
  std::vector<Block> blocks;
  for (int b = 0; b < model.config().blocks; ++b) blocks.push_back(*model.LoadBlock(b));
  size_t next = 0;
  while (next < plans.size()) {
    // Sites of one input are measured together, before any of them is quantized.
    size_t end = next;
    while (end < plans.size() && plans[end].site.block == plans[next].site.block &&
           plans[end].site.input_group == plans[next].site.input_group) {
      ++end;
    }
    std::vector<Matrix> results;
    for (size_t i = next; i < end; ++i) {
      OneInput observer(*context, plans[i]);
      for (const TokenSequence& ids : calibration) {
        Matrix hidden(static_cast<int64_t>(ids.size()), model.config().hidden_size);
        EXPECT_OK(model.Embed(*context, ids, 0, hidden.view()));
        for (int b = 0; b <= plans[i].site.block; ++b) {
          EXPECT_OK(model.ForwardBlock(*context, blocks[b],
                                       {.observer = b == plans[i].site.block ? &observer : nullptr}, hidden.view()));
        }
      }
      const Matrix& weight = blocks[plans[i].site.block].linears[plans[i].site.index].weight;
      results.push_back(QuantizeSite(*context, plans[i], weight.view(), observer.Finish())->weight->Decode());
    }
    for (size_t i = next; i < end; ++i) {
      done[plans[i].site.name] = Matrix::CopyOf(results[i - next].view());
      blocks[plans[i].site.block].linears[plans[i].site.index].weight = std::move(results[i - next]);
    }
    next = end;
  }
  return done;
}

void ExpectSame(const std::map<std::string, Matrix>& a, const std::map<std::string, Matrix>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, weight] : a) {
    const Matrix& other = b.at(name);
    EXPECT_TRUE(std::equal(weight.span().begin(), weight.span().end(), other.span().begin())) << name;
  }
}

TEST(QuantizeModel, EqualsTrueSequentialByDefinition) {
  const auto model = TinyModel();
  const auto plans = Plans(*model, "gptq", Json{{"bits", 3}, {"true_sequential", true}});
  const auto calibration = Sequences(4, 48);
  ExpectSame(QuantizeAll(*model, plans, calibration), QuantizeSlowly(*model, plans, calibration));
}

TEST(QuantizeModel, OrderWithinABlockMatters) {
  const auto model = TinyModel();
  const auto calibration = Sequences(4, 48);
  const auto at_once =
      QuantizeAll(*model, Plans(*model, "gptq", Json{{"bits", 3}, {"true_sequential", false}}), calibration);
  const auto in_order =
      QuantizeAll(*model, Plans(*model, "gptq", Json{{"bits", 3}, {"true_sequential", true}}), calibration);
  const std::string down = "model.layers.0.mlp.down_proj";
  EXPECT_FALSE(
      std::equal(at_once.at(down).span().begin(), at_once.at(down).span().end(), in_order.at(down).span().begin()));
}

TEST(QuantizeModel, SpilledActivationsGiveTheSameBytes) {
  const auto model = TinyModel();
  const auto plans = Plans(*model, "gptq", Json{{"bits", 4}});
  const auto calibration = Sequences(4, 48);
  ExpectSame(QuantizeAll(*model, plans, calibration),
             QuantizeAll(*model, plans, calibration, /*memory_budget_bytes=*/1000));
}

TEST(QuantizeModel, RtnNeedsNoDataAndSkipsNothing) {
  const auto model = TinyModel();
  const auto weights = QuantizeAll(*model, Plans(*model, "rtn", Json{{"bits", 8}}), {});
  EXPECT_EQ(weights.size(), model->sites().size());
  const Block block = *model->LoadBlock(0);
  const Matrix& quantized = weights.at(model->sites()[0].name);
  for (int64_t i = 0; i < quantized.size(); ++i) {
    // Half a step of an 8-bit grid over the widest row, plus the f16 rounding of its scale over 255 levels.
    EXPECT_NEAR(quantized.data()[i], block.linears[0].weight.data()[i], 2.0 / 255 * (0.5 + 255 * 0x1p-11));
  }
}

TEST(QuantizeModel, StopsWhenCancelled) {
  const auto model = TinyModel();
  const auto plans = Plans(*model, "gptq", Json{{"bits", 4}});
  const auto calibration = Sequences(2, 32);
  const auto context = *ExecutionContext::Create({.threads = 1});
  std::atomic<bool> cancelled{true};
  Progress progress(nullptr, &cancelled);
  const auto sink = [](int, std::vector<QuantizedSite>) { return absl::OkStatus(); };
  EXPECT_THAT(QuantizeModel(*context, *model, {plans, calibration, ""}, progress, sink),
              FailsWith("CANCELLED", "cancelled"));
}

}  // namespace
}  // namespace quantd
