// Accumulating second moments of inputs against one ssyrk of the same shape in the same run.
//   of_ssyrk      share of that rate reached; checks of the inputs and f64 sums included
//   gmadd_per_s   multiply-adds a second, in 10^9, of the upper triangle
#include <benchmark/benchmark.h>

#include <nlohmann/json.hpp>

#include "core/quant/sensitivity.h"
#include "tests/bench/sgemm_rate.h"

namespace quantd::bench {
namespace {

SitePlan PlanFor(int64_t features) {
  const LinearSite site{.name = "bench", .rows = 1, .cols = features, .scheme_group = "", .norm = ""};
  return {site, false, MakeRecipe("gptq", Json::object(), {}).value().parameters};
}

// Arguments: features, tokens of a sequence.
void BM_AddInputs(benchmark::State& state) {
  static const auto* const kContext = ExecutionContext::Create({}).value().release();
  const int64_t features = state.range(0);
  Matrix inputs(state.range(1), features);
  FillRandom(inputs, 5);
  const double rate = SsyrkRate(*kContext, inputs);
  const auto sensitivity = MakeSensitivity(PlanFor(features)).value();
  for (auto _ : state) {
    if (!sensitivity->AddInputs(*kContext, inputs.view()).ok()) state.SkipWithError("inputs refused");
  }
  const double multiply_adds = static_cast<double>(inputs.rows()) * features * features / 2;
  const double done = multiply_adds * static_cast<double>(state.iterations());
  state.counters["gmadd_per_s"] = benchmark::Counter(done / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_ssyrk"] = benchmark::Counter(done / rate, benchmark::Counter::kIsRate);
}

BENCHMARK(BM_AddInputs)
    ->ArgNames({"features", "tokens"})
    ->Args({576, 512})
    ->Args({2048, 512})
    ->Args({2048, 2048})
    ->Args({4096, 2048})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
