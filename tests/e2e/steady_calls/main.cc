// steady-calls SERVERS RATE: calls at a steady rate, with the shipped retry policy, for tests of restarts.
//
// Of 100 calls, 1 submits, 20 list and the others get a job. Works until its standard input ends and prints one JSON
// object: calls, failed, first_error, submitted, longest_ms, rate (calls a second).
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "client/quantd_client.h"

namespace quantd {
namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kThreads = 16;

struct Counts {
  std::mutex mutex;
  int64_t calls = 0;
  int64_t failed = 0;
  int64_t submitted = 0;
  std::string first_error;
  milliseconds longest{0};

  void Add(const absl::Status& status, milliseconds took) {
    const std::lock_guard<std::mutex> lock(mutex);
    ++calls;
    longest = std::max(longest, took);
    if (status.ok()) return;
    if (++failed == 1) first_error = status.ToString();
  }
};

v1::SubmitQuantJobRequest Request() {
  v1::SubmitQuantJobRequest request;
  request.mutable_spec()->set_model("quantd-tiny-llama");
  request.mutable_spec()->mutable_recipe()->set_preset("rtn");
  return request;
}

// Call number `number` of its thread; `job` is one that is known.
absl::Status CallOnce(QuantdClient& client, int64_t number, std::string& job, Counts& counts) {
  if (job.empty() || number % 100 == 0) {
    const auto submitted = client.Submit(Request());
    if (!submitted.ok()) return submitted.status();
    job = submitted->job().name();
    const std::lock_guard<std::mutex> lock(counts.mutex);
    ++counts.submitted;
    return absl::OkStatus();
  }
  if (number % 5 != 0) return client.Get(job).status();
  v1::ListQuantJobsRequest request;
  request.set_page_size(5);
  return client.ListPage(request).status();
}

void CallSteadily(QuantdClient& client, std::chrono::nanoseconds interval, const std::atomic<bool>& stop,
                  Counts& counts) {
  std::string job;
  Steady::time_point due = Steady::now();
  for (int64_t number = 0; !stop; ++number) {
    const Steady::time_point begin = Steady::now();
    const absl::Status status = CallOnce(client, number, job, counts);
    counts.Add(status, std::chrono::duration_cast<milliseconds>(Steady::now() - begin));
    // What a slow call missed is made up for: the rate holds on average.
    due = std::max(due + interval, Steady::now() - std::chrono::seconds(1));
    std::this_thread::sleep_until(due);
  }
}

void WaitForEndOfInput() {
  char buffer[256];
  while (read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
  }
}

int Main(int argc, char** argv) {
  if (argc != 3 || std::atoi(argv[2]) <= 0) {
    std::fprintf(stderr, "usage: steady-calls SERVERS RATE\n");
    return 2;
  }
  QuantdClient client({.server = argv[1]});
  Counts counts;
  std::atomic<bool> stop{false};
  const std::chrono::nanoseconds interval =
      std::chrono::nanoseconds(std::chrono::seconds(kThreads)) / std::atoi(argv[2]);
  const Steady::time_point begin = Steady::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&] { CallSteadily(client, interval, stop, counts); });
  WaitForEndOfInput();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  const nlohmann::json report = {{"calls", counts.calls},
                                 {"failed", counts.failed},
                                 {"first_error", counts.first_error},
                                 {"submitted", counts.submitted},
                                 {"longest_ms", counts.longest.count()},
                                 {"rate", static_cast<double>(counts.calls) / seconds}};
  std::printf("%s\n", report.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  return quantd::Main(argc, argv);
}
