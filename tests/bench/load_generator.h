// Many clients at once against one server, and what they saw.
#ifndef QUANTD_TESTS_BENCH_LOAD_GENERATOR_H_
#define QUANTD_TESTS_BENCH_LOAD_GENERATOR_H_

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace quantd::bench {

using SteadyClock = std::chrono::steady_clock;

inline double SecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

inline double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

// A connection of its own: gRPC would share one among equal channels.
inline std::shared_ptr<grpc::Channel> OwnChannel(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

struct Load {
  std::vector<double> seconds;  // of each call that succeeded
  int64_t failed = 0;
  double wall_seconds = 0;

  double PerSecond() const { return static_cast<double>(seconds.size()) / wall_seconds; }
};

struct LoadLimits {
  int clients = 32;
  double seconds = 5;
  int64_t calls = INT64_MAX;  // of all clients together
};

// Each client calls `call(client)` one after the other until time or calls are used up; false: it failed.
inline Load RunLoad(const LoadLimits& limits, const std::function<bool(int client)>& call) {
  std::vector<Load> parts(static_cast<size_t>(limits.clients));
  std::atomic<int64_t> begun{0};
  const SteadyClock::time_point begin = SteadyClock::now();
  std::vector<std::thread> threads;
  for (int client = 0; client < limits.clients; ++client) {
    threads.emplace_back([&, client] {
      Load& part = parts[static_cast<size_t>(client)];
      while (SecondsSince(begin) < limits.seconds && begun.fetch_add(1) < limits.calls) {
        const SteadyClock::time_point called = SteadyClock::now();
        const bool ok = call(client);
        if (ok) part.seconds.push_back(SecondsSince(called));
        part.failed += ok ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Load all;
  all.wall_seconds = SecondsSince(begin);
  for (Load& part : parts) {
    all.seconds.insert(all.seconds.end(), part.seconds.begin(), part.seconds.end());
    all.failed += part.failed;
  }
  return all;
}

}  // namespace quantd::bench

#endif  // QUANTD_TESTS_BENCH_LOAD_GENERATOR_H_
