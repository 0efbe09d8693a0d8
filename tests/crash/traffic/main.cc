// crash-traffic SERVER SETTLE_SECONDS: clients of a crash test (tests/crash/crash_test.py).
//
// Works until its standard input ends, and prints `operations N`, the calls answered so far, ten times a second. Then
// it waits until every accepted job is over, at most SETTLE_SECONDS, compares what it was told with what the server
// has, and prints one JSON object: submitted, lost, duplicated, stuck (numbers) and problems (texts).
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/json.h"
#include "core/base/program.h"
#include "tests/crash/traffic/clients.h"

namespace quantd::crash {
namespace {

// More would only wait: a tiny job takes a tenth of a second of a core.
constexpr int64_t kMostUnfinished = 12;
constexpr auto kBeat = std::chrono::milliseconds(100);

bool InputEnded() {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, static_cast<int>(kBeat.count())) <= 0) return false;
  char byte;
  return read(STDIN_FILENO, &byte, 1) <= 0;
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
    std::this_thread::sleep_for(std::chrono::milliseconds(15));
  });
  start(seed + 3, [&](std::mt19937_64& random) {
    clients.WatchOne(random, stop);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  });
  while (!InputEnded()) {
    std::printf("operations %lld\n", static_cast<long long>(clients.operations()));
    std::fflush(stdout);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

std::vector<v1::QuantJob> Settle(Clients& clients, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  std::vector<v1::QuantJob> jobs;
  while (std::chrono::steady_clock::now() < end) {
    if (clients.ListAll(jobs) && clients.ledger().unfinished() == 0) break;
    std::this_thread::sleep_for(kBeat);
  }
  return jobs;
}

Json Compare(Clients& clients, const std::vector<v1::QuantJob>& listed) {
  std::map<std::string, int> jobs_by_request;
  std::map<std::string, const v1::QuantJob*> by_name;
  int64_t duplicated = 0, lost = 0, stuck = 0;
  for (const v1::QuantJob& job : listed) {
    by_name[job.name()] = &job;
    if (++jobs_by_request[job.spec().labels().at("request")] == 2) ++duplicated;
  }
  std::map<std::string, int64_t> states;
  for (const auto& [name, job] : clients.ledger().jobs()) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      if (job.delete_tried) continue;
      ++lost;
      clients.ledger().Problem(absl::StrCat("lost: ", name));
      continue;
    }
    const v1::QuantJob::State state = found->second->state();
    ++states[v1::QuantJob::State_Name(state)];
    if (!IsTerminal(state)) {
      ++stuck;
      clients.ledger().Problem(absl::StrCat("stuck: ", name, " ", found->second->ShortDebugString()));
    }
  }
  Json report = {{"submitted", clients.ledger().jobs().size()},
                 {"lost", lost},
                 {"duplicated", duplicated},
                 {"stuck", stuck},
                 {"states", states},
                 {"operations", clients.operations()}};
  report["problems"] = clients.ledger().problems();
  return report;
}

int Main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: crash-traffic SERVER SETTLE_SECONDS\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  Clients clients(argv[1]);
  RunTraffic(clients);
  const std::vector<v1::QuantJob> jobs = Settle(clients, std::chrono::seconds(std::atoi(argv[2])));
  std::printf("%s\n", Compare(clients, jobs).dump().c_str());
  return 0;
}

}  // namespace
}  // namespace quantd::crash

int main(int argc, char** argv) {
  quantd::NoticeServersSoon();
  return quantd::crash::Main(argc, argv);
}
