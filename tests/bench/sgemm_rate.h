// The machine's own speed in this very run: what figures are divided by.
#ifndef QUANTD_TESTS_BENCH_SGEMM_RATE_H_
#define QUANTD_TESTS_BENCH_SGEMM_RATE_H_

#include <cblas.h>

#include <chrono>
#include <cstdlib>
#include <functional>

#include "absl/strings/numbers.h"
#include "core/compute/execution_context.h"
#include "core/tensor/matrix.h"

namespace quantd::bench {

// $QUANTD_BENCH_THREADS threads, or all cores of this process. Lives as long as the process.
inline const ExecutionContext& BenchContext() {
  static const auto* const kContext = [] {
    const char* text = std::getenv("QUANTD_BENCH_THREADS");
    int threads = 0;
    if (text != nullptr && !absl::SimpleAtoi(text, &threads)) threads = 0;
    return ExecutionContext::Create({.threads = threads}).value().release();
  }();
  return *kContext;
}

// Fastest of `repeats` calls, in seconds.
inline double FastestSeconds(int repeats, const std::function<void()>& body) {
  double fastest = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (taken.count() < fastest) fastest = taken.count();
  }
  return fastest;
}

// Fills with a fixed sequence, uniform in [-1, 1).
inline void FillRandom(Matrix& matrix, uint64_t seed) {
  uint64_t state = seed * 2 + 1;
  for (float& value : matrix.span()) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<int64_t>(state) >> 40) * 0x1p-23f;
  }
}

// Lets BLAS use its own threads while it lives: the rates below are those of the library as it comes.
class ThreadedBlas {
 public:
  explicit ThreadedBlas(int threads) { openblas_set_num_threads(threads); }
  ThreadedBlas(const ThreadedBlas&) = delete;
  ThreadedBlas& operator=(const ThreadedBlas&) = delete;
  ~ThreadedBlas() { openblas_set_num_threads(1); }
};

// Multiply-adds a second of a square product.
inline double SgemmRate(const ExecutionContext& context, int64_t n = 2048) {
  Matrix a(n, n);
  Matrix b(n, n);
  Matrix c(n, n);
  FillRandom(a, 1);
  FillRandom(b, 2);
  const ThreadedBlas threaded(context.threads());
  const double seconds = FastestSeconds(5, [&] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0f, a.data(), n, b.data(), n, 0.0f, c.data(), n);
  });
  return static_cast<double>(n) * n * n / seconds;
}

// Multiply-adds a second of x^T x, upper triangle, counted as features^2 / 2 a token.
inline double SsyrkRate(const ExecutionContext& context, const Matrix& x) {
  const int64_t n = x.cols();
  Matrix c(n, n);
  const ThreadedBlas threaded(context.threads());
  const double seconds = FastestSeconds(5, [&] {
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, n, x.rows(), 1.0f, x.data(), n, 1.0f, c.data(), n);
  });
  return static_cast<double>(x.rows()) * n * n / 2 / seconds;
}

}  // namespace quantd::bench

#endif  // QUANTD_TESTS_BENCH_SGEMM_RATE_H_
