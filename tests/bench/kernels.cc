// Products with packed weights against the memory they read, for scripts/bench-kernels: one JSON object a line.
//   kernels_bench matvec ROWS COLS BITS THREADS
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/compute/planes_product.h"
#include "tests/bench/sgemm_rate.h"

namespace quantd::bench {
namespace {

// Bytes a second of reading `bytes` of memory with all threads, each its own part.
double ReadRate(const ExecutionContext& context, uint64_t bytes) {
  std::vector<uint64_t> memory(bytes / sizeof(uint64_t), 1);
  const int threads = context.threads();
  std::vector<uint64_t> sums(threads * 8);
  const double seconds = FastestSeconds(20, [&] {
    context.pool().ParallelFor(threads, [&](int64_t t) {
      const uint64_t* at = memory.data() + memory.size() * t / threads;
      const uint64_t* const end = memory.data() + memory.size() * (t + 1) / threads;
      uint64_t a = 0, b = 0, c = 0, d = 0;
      for (; at + 8 <= end; at += 8) {
        a += at[0] + at[1];
        b += at[2] + at[3];
        c += at[4] + at[5];
        d += at[6] + at[7];
      }
      sums[t * 8] += a + b + c + d;
    });
  });
  if (sums[0] == 0) std::abort();
  return static_cast<double>(bytes) / seconds;
}

BinaryPlanes RandomWeight(int64_t rows, int64_t cols, int bits, int64_t group) {
  PlanesLayout layout;
  layout.rows = rows;
  layout.cols = cols;
  layout.planes = bits;
  layout.group_size = group;
  for (int b = 0; b < bits; ++b) layout.shared_steps.push_back(static_cast<uint8_t>(1 << b));
  auto builder = BinaryPlanesBuilder::Create(layout).value();
  std::mt19937_64 random(1);
  std::vector<uint8_t> codes(cols);
  std::vector<float> scales(layout.groups(), 0.01f);
  std::vector<int16_t> bases(layout.groups(), static_cast<int16_t>(-(1 << (bits - 1))));
  for (int64_t r = 0; r < rows; ++r) {
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1u << bits) - 1));
    PlaneRow row;
    row.codes = codes;
    row.scales = scales;
    row.bases = bases;
    builder.SetRow(r, row);
  }
  return std::move(builder).Build();
}

void MatVec(int64_t rows, int64_t cols, int bits, int threads) {
  const auto context = ExecutionContext::Create({.threads = threads}).value();
  const BinaryPlanes weight = RandomWeight(rows, cols, bits, 128);
  Matrix x(1, cols), out(1, rows);
  FillRandom(x, 1);
  const auto bytes = static_cast<double>(weight.resident_bytes());
  const int repeats = bytes > 1e8 ? 30 : 300;
  double rate = ReadRate(*context, weight.resident_bytes());
  const PlanesProductOptions options{.arithmetic = std::getenv("EXACT") ? PlaneArithmetic::kExact : PlaneArithmetic::kRounded};
  const double seconds = FastestSeconds(repeats, [&] { MultiplyPlanes(*context, x.view(), weight, out.view(), options); });
  rate = std::max(rate, ReadRate(*context, weight.resident_bytes()));
  std::printf("{\"rows\": %lld, \"cols\": %lld, \"bits\": %d, \"megabytes\": %.2f, \"seconds\": %.7f, \"gb_per_s\": %.2f, \"read_gb_per_s\": %.2f, \"share\": %.3f}\n",
              (long long)rows, (long long)cols, bits, bytes / 1e6, seconds, bytes / seconds / 1e9, rate / 1e9, bytes / seconds / rate);
}

}  // namespace
}  // namespace quantd::bench

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  quantd::bench::MatVec(std::atoll(argv[2]), std::atoll(argv[3]), std::atoi(argv[4]), std::atoi(argv[5]));
  return 0;
}
