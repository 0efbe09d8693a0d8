// Work timed as a share of the machine's own speed. On shared machines the mean of a run says more about the neighbours
// than about the work, so that both the work and the baseline count by their fastest repeat.
#ifndef QUANTD_TESTS_BENCH_SHARE_OF_RATE_H_
#define QUANTD_TESTS_BENCH_SHARE_OF_RATE_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <functional>
#include <string>

#include "tests/bench/sgemm_rate.h"

namespace quantd::bench {

struct Baseline {
  std::string counter;              // name of the share, e.g. "share_of_sgemm_rate"
  double multiply_adds = 0;         // of one run of the work
  std::function<double()> measure;  // multiply-adds a second of the baseline
};

// Runs `work` as the benchmark's loop, with the baseline before and after it. Counters:
//   <baseline.counter>   (multiply-adds / fastest run) / fastest baseline; 1 is perfect
//   fastest_seconds      of one run; the benchmark's own time is the mean
//   gmadd_per_s          multiply-adds a second of the fastest run, in 10^9
inline void RunAgainst(benchmark::State& state, const Baseline& baseline, const std::function<void()>& work) {
  double rate = baseline.measure();
  double fastest = 1e30;
  for (auto _ : state) fastest = std::min(fastest, FastestSeconds(1, work));
  rate = std::max(rate, baseline.measure());
  state.counters["fastest_seconds"] = fastest;
  state.counters["gmadd_per_s"] = baseline.multiply_adds / fastest / 1e9;
  state.counters[baseline.counter] = baseline.multiply_adds / fastest / rate;
}

}  // namespace quantd::bench

#endif  // QUANTD_TESTS_BENCH_SHARE_OF_RATE_H_
