// One layer of SmolLM2-135M's shapes under each grid, against the same layer under GPTQ's: what a grid costs beside the
// column sweep that all of them need. Both are timed in the same run.
//   ratio_to_gptq   time of the grid / time of uniform 3 bits in groups of 64 (BM_BinarySearch: of the same groups),
//                   factor and packing included
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/quant/grid.h"
#include "core/quant/solver.h"
#include "tests/bench/share_of_rate.h"

namespace quantd::bench {
namespace {

struct Layer {
  Layer(int64_t rows, int64_t cols) : weight(rows, cols), hessian(cols, cols) {
    FillRandom(weight, 3);
    // Diagonally dominant and otherwise random: positive definite without a product of n^3.
    FillRandom(hessian, 4);
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j < i; ++j) hessian.at(i, j) = hessian.at(j, i);
      hessian.at(i, i) = 2 * std::sqrt(static_cast<float>(cols)) * (1.5f + hessian.at(i, i));
    }
  }
  Matrix weight;
  Matrix hessian;
};

void Solve(const Layer& layer, const Parameters& parameters) {
  const auto grid = MakeGrid(parameters);
  const Solution solution =
      MakeSolver(parameters)->Solve(BenchContext(), *grid, layer.weight.view(), layer.hessian).value();
  benchmark::DoNotOptimize(
      grid->Assemble(BenchContext(), {solution.codes, solution.values, solution.fits, solution.fit_of_column}));
}

double SecondsOf(const Layer& layer, const Parameters& parameters) {
  const auto begin = std::chrono::steady_clock::now();
  Solve(layer, parameters);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Arguments: rows, columns.
void BM_Grid(benchmark::State& state, const char* preset) {
  const Layer layer(state.range(0), state.range(1));
  const Parameters parameters = MakeRecipe(preset, Json::object(), {}).value().parameters;
  const Parameters gptq = MakeRecipe("gptq", {{"bits", 3}, {"group_size", 64}}, {}).value().parameters;
  double seconds = 0, gptq_seconds = 0;
  for (auto _ : state) {
    gptq_seconds += SecondsOf(layer, gptq);
    const double iteration = SecondsOf(layer, parameters);
    seconds += iteration;
    state.SetIterationTime(iteration);
  }
  state.counters["ratio_to_gptq"] = seconds / gptq_seconds;
}

void Configure(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "cols"})->Args({576, 576})->Args({192, 576})->Args({1536, 576})->Args({576, 1536});
  bench->Iterations(10)->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(BM_Grid, spqr, "spqr")->Apply(Configure);
BENCHMARK_CAPTURE(BM_Grid, billm, "billm")->Apply(Configure);

double SecondsOfFits(const Layer& layer, const Grid& grid) {
  const WeightSlabs slabs = CutIntoSlabs(BenchContext(), layer.weight.view());
  const std::vector<float> diagonal(layer.weight.cols(), 1.5f);
  const int64_t group = grid.columns_per_fit(layer.weight.cols());
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t first = 0; first < layer.weight.cols(); first += group) {
    const FitColumns columns = {slabs, first, group, {}, 0, absl::MakeConstSpan(diagonal).subspan(first, group)};
    benchmark::DoNotOptimize(grid.Fit(BenchContext(), columns).value());
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Arguments: rows, columns, group size (-1: a row). The search for 5 -> 3 bits against GPTQ's factor and sweep of the
// same matrix.
void BM_BinarySearch(benchmark::State& state, const char* codebooks) {
  const Layer layer(state.range(0), state.range(1));
  const int64_t group_size = state.range(2);
  const Json settings = {{"bits", 3}, {"group_size", group_size}, {"linear_bits", 5}, {"codebooks", codebooks}};
  const auto grid = MakeGrid(MakeRecipe("gptqt", settings, {}).value().parameters);
  const Parameters gptq = MakeRecipe("gptq", {{"bits", 3}, {"group_size", group_size}}, {}).value().parameters;
  double seconds = 0, gptq_seconds = 0;
  for (auto _ : state) {
    gptq_seconds += SecondsOf(layer, gptq);
    const double iteration = SecondsOfFits(layer, *grid);
    seconds += iteration;
    state.SetIterationTime(iteration);
  }
  state.counters["ratio_to_gptq"] = seconds / gptq_seconds;
}

void ConfigureSearch(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "cols", "group"});
  for (const int64_t side : {576, 2048, 4096})
    bench->Args({side, side, -1})->Args({side, side, side == 576 ? 64 : 128});
  bench->Iterations(3)->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(BM_BinarySearch, spanning, "spanning")->Apply(ConfigureSearch);
BENCHMARK_CAPTURE(BM_BinarySearch, all, "all")
    ->ArgNames({"rows", "cols", "group"})
    ->Args({2048, 2048, -1})
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
