// OPTQ on one square layer, 4 bit in groups of 128, against its arithmetic bound: its multiply-adds at the sgemm rate
// of the same run.
//   solve    all of it: factor n^3 / 3, sweep n^3 / 2, cutting and packing
//   factor   damping and inverse Cholesky factor
//   sweep    rounding columns and repaying their errors
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/quant/grid.h"
#include "core/quant/optq_factor.h"
#include "core/quant/optq_sweep.h"
#include "core/quant/solver.h"
#include "tests/bench/share_of_rate.h"

namespace quantd::bench {
namespace {

struct Layer {
  explicit Layer(int64_t n) : weight(n, n), hessian(n, n) {
    FillRandom(weight, 3);
    // Diagonally dominant and otherwise random: positive definite without a product of n^3.
    FillRandom(hessian, 4);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j) hessian.at(i, j) = hessian.at(j, i);
      hessian.at(i, i) = 2 * std::sqrt(static_cast<float>(n)) * (1.5f + hessian.at(i, i));
    }
  }
  Matrix weight;
  Matrix hessian;
};

Parameters ParametersFor(bool act_order) {
  const Json overrides = {{"bits", 4}, {"group_size", 128}, {"act_order", act_order}, {"static_groups", act_order}};
  return MakeRecipe("gptq", overrides, {}).value().parameters;
}

Baseline ShareOfSgemm(double multiply_adds) {
  return {"share_of_sgemm_rate", multiply_adds, [] { return SgemmRate(BenchContext()); }};
}

double Cubed(int64_t n) {
  return static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
}

void Solve(benchmark::State& state, bool act_order) {
  const Layer layer(state.range(0));
  const Parameters parameters = ParametersFor(act_order);
  const auto grid = MakeGrid(parameters);
  const auto solver = MakeSolver(parameters);
  RunAgainst(state, ShareOfSgemm(Cubed(state.range(0)) * (1.0 / 3 + 1.0 / 2)), [&] {
    const Solution solution = solver->Solve(BenchContext(), *grid, layer.weight.view(), layer.hessian).value();
    benchmark::DoNotOptimize(
        grid->Assemble(BenchContext(), {solution.codes, solution.values, solution.fits, solution.fit_of_column}));
  });
}

void BM_OptqSolve(benchmark::State& state) {
  Solve(state, /*act_order=*/false);
}
void BM_OptqSolveActOrder(benchmark::State& state) {
  Solve(state, /*act_order=*/true);
}

void BM_OptqFactor(benchmark::State& state) {
  const Layer layer(state.range(0));
  RunAgainst(state, ShareOfSgemm(Cubed(state.range(0)) / 3),
             [&] { benchmark::DoNotOptimize(FactorSensitivity(BenchContext(), layer.hessian, {}).value().damping); });
}

void BM_OptqSweep(benchmark::State& state) {
  const Layer layer(state.range(0));
  const auto grid = MakeGrid(ParametersFor(/*act_order=*/false));
  const OptqFactor factor = FactorSensitivity(BenchContext(), layer.hessian, {}).value();
  RunAgainst(state, ShareOfSgemm(Cubed(state.range(0)) / 2), [&] {
    benchmark::DoNotOptimize(SweepColumns(BenchContext(), *grid, layer.weight.view(), factor, {}).value().fits.size());
  });
}

void Configure(benchmark::internal::Benchmark* bench) {
  bench->ArgName("n")->Arg(2048)->Arg(4096)->Iterations(5)->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(BM_OptqSolve)->Apply(Configure);
BENCHMARK(BM_OptqSolveActOrder)->Apply(Configure);
BENCHMARK(BM_OptqFactor)->Apply(Configure);
BENCHMARK(BM_OptqSweep)->Apply(Configure);

}  // namespace
}  // namespace quantd::bench
