// Accumulating second moments of inputs against one ssyrk of the same shape in the same run; checks of the inputs and
// the sums in f64 are included.
#include <nlohmann/json.hpp>

#include "core/quant/sensitivity.h"
#include "tests/bench/share_of_rate.h"

namespace quantd::bench {
namespace {

SitePlan PlanFor(int64_t features) {
  const LinearSite site{.name = "bench", .rows = 1, .cols = features, .scheme_group = "", .norm = ""};
  return {site, false, MakeRecipe("gptq", Json::object(), {}).value().parameters};
}

// Arguments: features, tokens of a sequence.
void BM_AddInputs(benchmark::State& state) {
  const int64_t features = state.range(0);
  Matrix inputs(state.range(1), features);
  FillRandom(inputs, 5);
  const auto sensitivity = MakeSensitivity(PlanFor(features)).value();
  const auto add = [&] {
    if (!sensitivity->AddInputs(BenchContext(), inputs.view()).ok()) state.SkipWithError("inputs refused");
  };
  add();  // the first one also meets untouched memory
  const double multiply_adds = static_cast<double>(inputs.rows()) * features * features / 2;
  RunAgainst(state, {"share_of_ssyrk_rate", multiply_adds, [&] { return SsyrkRate(BenchContext(), inputs); }}, add);
}

BENCHMARK(BM_AddInputs)
    ->ArgNames({"features", "tokens"})
    ->Args({576, 512})
    ->Args({2048, 512})
    ->Args({2048, 2048})
    ->Args({4096, 2048})
    ->Iterations(7)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
