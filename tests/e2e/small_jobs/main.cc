// small-jobs SERVER JOBS CALLS: jobs that cost the server what every job costs it and nothing else, and calls of every
// kind beside them, for tests of what stays behind (tests/e2e/leak_test.py).
//
// Submits JOBS jobs, plays the workers that end them, makes CALLS other calls meanwhile, waits until every job is over
// and prints one JSON object: submitted, unfinished, calls (of clients, all), worker_calls, attempts (ended and
// recorded), codes (answers to clients by gRPC code), seconds.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/small_jobs/calls.h"
#include "tests/e2e/small_jobs/scripted_worker.h"

namespace quantd::small_jobs {
namespace {

using Steady = std::chrono::steady_clock;

constexpr int kSubmitters = 4;
constexpr int kCallers = 8;
constexpr auto kSettle = std::chrono::minutes(5);  // on a busy machine

// Numbers below `count`, each given to one thread.
void Share(int64_t count, std::atomic<int64_t>& next, const std::function<void(int64_t)>& body) {
  for (int64_t number = next++; number < count; number = next++) body(number);
}

void RunClients(Calls& calls, int64_t jobs, int64_t others) {
  std::atomic<int64_t> next_job{0}, next_call{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kSubmitters; ++i) {
    threads.emplace_back([&] { Share(jobs, next_job, [&](int64_t number) { calls.Submit(number); }); });
  }
  for (int i = 0; i < kCallers; ++i) {
    threads.emplace_back([&] { Share(others, next_call, [&](int64_t number) { calls.Other(number); }); });
  }
  for (std::thread& thread : threads) thread.join();
}

int64_t UnfinishedAfterAWhile(Calls& calls) {
  const Steady::time_point end = Steady::now() + kSettle;
  int64_t unfinished = calls.Unfinished();
  while (unfinished != 0 && Steady::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    unfinished = calls.Unfinished();
  }
  return unfinished;
}

int Main(int argc, char** argv) {
  if (argc != 4 || std::atoll(argv[2]) <= 0 || std::atoll(argv[3]) < 0) {
    std::fprintf(stderr, "usage: small-jobs SERVER JOBS CALLS\n");
    return 2;
  }
  const Steady::time_point begin = Steady::now();
  Calls calls(argv[1]);
  ScriptedWorker first(argv[1], "first"), second(argv[1], "second");
  RunClients(calls, std::atoll(argv[2]), std::atoll(argv[3]));
  const nlohmann::json report = {{"submitted", calls.submitted()},
                                 {"unfinished", UnfinishedAfterAWhile(calls)},
                                 {"calls", calls.calls()},
                                 {"worker_calls", first.calls() + second.calls()},
                                 {"attempts", first.acknowledged() + second.acknowledged()},
                                 {"codes", calls.AnswersByCode()},
                                 {"seconds", std::chrono::duration<double>(Steady::now() - begin).count()}};
  std::printf("%s\n", report.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace quantd::small_jobs

int main(int argc, char** argv) {
  return quantd::small_jobs::Main(argc, argv);
}
