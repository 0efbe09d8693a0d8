// OPTQ on one layer against its arithmetic bound: its multiply-adds at the sgemm rate of the same run.
//   of_bound      share of the bound reached (1 is perfect)
//   gmadd_per_s   multiply-adds a second, in 10^9
// factor: damping and inverse Cholesky factor, n^3 / 3. sweep: rows * n^2 / 2. solve: both, and cutting and packing.
#include <benchmark/benchmark.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/quant/grid.h"
#include "core/quant/optq_factor.h"
#include "core/quant/optq_sweep.h"
#include "core/quant/solver.h"
#include "tests/bench/sgemm_rate.h"

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

Parameters ParametersFor(const Json& overrides) { return MakeRecipe("gptq", overrides, {}).value().parameters; }

void Report(benchmark::State& state, double multiply_adds, double bound_rate) {
  const double per_run = multiply_adds * static_cast<double>(state.iterations());
  state.counters["gmadd_per_s"] = benchmark::Counter(per_run / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_bound"] = benchmark::Counter(per_run / bound_rate, benchmark::Counter::kIsRate);
}

const ExecutionContext& Context() {
  static const auto* const kContext = ExecutionContext::Create({}).value().release();
  return *kContext;
}

double BoundRate() {
  static const double kRate = SgemmRate(Context());
  return kRate;
}

void Solve(benchmark::State& state, const Json& overrides) {
  const int64_t n = state.range(0);
  const Layer layer(n);
  const Parameters parameters = ParametersFor(overrides);
  const auto grid = MakeGrid(parameters);
  const auto solver = MakeSolver(parameters);
  const double bound = BoundRate();
  for (auto _ : state) {
    const Solution solution = solver->Solve(Context(), *grid, layer.weight.view(), layer.hessian).value();
    benchmark::DoNotOptimize(
        grid->Assemble(Context(), {solution.codes, solution.values, solution.fits, solution.fit_of_column}));
  }
  const double cubed = static_cast<double>(n) * n * n;
  Report(state, cubed / 3 + cubed / 2, bound);
}

void BM_OptqSolve(benchmark::State& state) {
  Solve(state, {{"bits", 4}, {"group_size", 128}, {"act_order", false}, {"static_groups", false}});
}
void BM_OptqSolveActOrder(benchmark::State& state) { Solve(state, {{"bits", 4}, {"group_size", 128}}); }

void BM_OptqFactor(benchmark::State& state) {
  const int64_t n = state.range(0);
  const Layer layer(n);
  const double bound = BoundRate();
  for (auto _ : state) benchmark::DoNotOptimize(FactorSensitivity(Context(), layer.hessian, {}).value().damping);
  Report(state, static_cast<double>(n) * n * n / 3, bound);
}

void BM_OptqSweep(benchmark::State& state) {
  const int64_t n = state.range(0);
  const Layer layer(n);
  const auto grid = MakeGrid(ParametersFor({{"bits", 4}, {"group_size", 128}}));
  const OptqFactor factor = FactorSensitivity(Context(), layer.hessian, {}).value();
  const double bound = BoundRate();
  for (auto _ : state) {
    benchmark::DoNotOptimize(SweepColumns(Context(), *grid, layer.weight.view(), factor, {}).value().fits.size());
  }
  Report(state, static_cast<double>(n) * n * n / 2, bound);
}

BENCHMARK(BM_OptqSolve)->Arg(2048)->Arg(4096)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_OptqSolveActOrder)->Arg(2048)->Arg(4096)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_OptqFactor)->Arg(2048)->Arg(4096)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_OptqSweep)->Arg(2048)->Arg(4096)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
