// crash-traffic SERVER SETTLE_SECONDS: clients of a crash test (tests/crash/crash_test.py).
//
// Works until its standard input ends, and prints `operations N`, the calls answered so far, many times a second. For
// each byte of the input it compares what it was told with what the server has, while the traffic goes on, and prints
// `checked OBJECT` in JSON: submitted, lost, duplicated, stuck (numbers) and problems (texts); `checked {}` when the
// server did not answer. At the end it waits until every job is over, at most SETTLE_SECONDS, compares again, and
// prints `ended OBJECT`, which also has the calls and the digest of the artifacts of each kind of job.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/base/json.h"
#include "core/base/program.h"
#include "tests/crash/traffic/clients.h"
#include "tests/crash/traffic/comparison.h"

namespace quantd::crash {
namespace {

// More would only wait: a tiny job takes a tenth of a second of a core.
constexpr int64_t kMostUnfinished = 12;
constexpr auto kBeat = std::chrono::milliseconds(20);

enum class Order { kNone, kCheck, kEnd };

// The next byte of the input, if one comes soon.
Order NextOrder() {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, static_cast<int>(kBeat.count())) <= 0) return Order::kNone;
  char byte;
  return read(STDIN_FILENO, &byte, 1) == 1 ? Order::kCheck : Order::kEnd;
}

bool AllOver(const std::vector<v1::QuantJob>& jobs) {
  return std::all_of(jobs.begin(), jobs.end(), [](const v1::QuantJob& job) { return IsTerminal(job.state()); });
}

std::vector<v1::QuantJob> Settle(Clients& clients, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  std::vector<v1::QuantJob> jobs;
  while (std::chrono::steady_clock::now() < end) {
    if (clients.ListAll(jobs) && AllOver(jobs)) break;
    std::this_thread::sleep_for(kBeat);
  }
  return jobs;
}

// While the traffic goes on: everything accepted is there, once.
void Check(Clients& clients) {
  Comparison comparison = {.accepted = clients.ledger().jobs(), .listed = {}, .settled = false};
  if (!clients.ListAll(comparison.listed)) {
    std::printf("checked {}\n");
    return;
  }
  Json report = Compare(comparison, clients.ledger());
  report["problems"] = clients.ledger().problems();
  std::printf("checked %s\n", report.dump().c_str());
}

void Report(Clients& clients, std::chrono::seconds settle_limit) {
  Comparison comparison = {.accepted = {}, .listed = Settle(clients, settle_limit), .settled = true};
  comparison.accepted = clients.ledger().jobs();
  Json report = Compare(comparison, clients.ledger());
  report["operations"] = clients.operations();
  report["digests"] = clients.ledger().digest_by_kind();
  report["problems"] = clients.ledger().problems();
  std::printf("ended %s\n", report.dump().c_str());
}

// Orders, until the last one.
void Serve(Clients& clients) {
  while (true) {
    const Order order = NextOrder();
    if (order == Order::kEnd) return;
    if (order == Order::kCheck) Check(clients);
    std::printf("operations %lld\n", static_cast<long long>(clients.operations()));
    std::fflush(stdout);
  }
}

void RunTraffic(Clients& clients) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  const auto start = [&](uint64_t seed, auto body) {
    threads.emplace_back([&stop, seed, body] {
      std::mt19937_64 random(seed);
      while (!stop) body(random);
    });
  };
  const uint64_t seed = std::random_device{}();
  for (uint64_t i = 0; i < 2; ++i) {
    start(seed + i, [&](std::mt19937_64& random) {
      if (clients.ledger().unfinished() < kMostUnfinished) clients.SubmitOne(random);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    });
  }
  start(seed + 2, [&](std::mt19937_64& random) {
    clients.ChangeSome(random);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  });
  start(seed + 3, [&](std::mt19937_64& random) {
    clients.WatchOne(random, stop);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  });
  Serve(clients);
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

int Main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: crash-traffic SERVER SETTLE_SECONDS\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  Clients clients(argv[1]);
  RunTraffic(clients);
  Report(clients, std::chrono::seconds(std::atoi(argv[2])));
  return 0;
}

}  // namespace
}  // namespace quantd::crash

int main(int argc, char** argv) {
  quantd::NoticeServersSoon();
  return quantd::crash::Main(argc, argv);
}
