// Durable submissions to the job store, PostgreSQL beside SQLite in the same run: in turns, so that a busy machine is
// unfair to neither. PostgreSQL is started from Debian's package, in the folder for temporary files, and syncs; without
// the package only SQLite is measured.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/program.h"
#include "server/store/open_job_store.h"
#include "tests/testing/postgres_server.h"

namespace quantd::bench {
namespace {

constexpr std::chrono::milliseconds kTurn{500};
constexpr int kTurns = 4;  // of each store

using Store = std::unique_ptr<JobStore>;

NewJob Job(int64_t number) {
  NewJob job;
  job.id = absl::StrCat("j", number);
  job.spec.set_model("quantd-tiny-llama");
  job.spec.mutable_recipe()->set_preset("gptq");
  job.request_id = absl::StrCat("r", number);
  job.create_time = absl::Now();
  return job;
}

// Submissions within one turn by so many clients; -1 when one failed.
int64_t Submit(JobStore& store, int clients, std::atomic<int64_t>& number) {
  std::atomic<int64_t> done{0};
  std::atomic<bool> failed{false};
  const auto end = std::chrono::steady_clock::now() + kTurn;
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      while (std::chrono::steady_clock::now() < end) {
        if (!store.Submit(Job(++number), {.max_queued = 10'000'000}).ok()) failed = true;
        ++done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failed ? -1 : done.load();
}

class Stores {
 public:
  Stores() : folder_(std::filesystem::path(ExecutableDirectory()) / absl::StrCat("store-bench-", getpid())) {
    std::filesystem::create_directories(folder_);
    sqlite = Open("");
    if (PostgresServer::IsInstalled()) {
      server_ = PostgresServer::Start();
      postgres = Open(server_->NewDatabase());
    }
  }
  ~Stores() {
    sqlite.reset();
    postgres.reset();
    std::filesystem::remove_all(folder_);
  }

  Store sqlite, postgres;

 private:
  Store Open(const std::string& dsn) {
    auto store =
        OpenJobStore({.data_directory = folder_.string(), .dsn = dsn, .connections = 16, .clock = RealClock()});
    return store.ok() ? *std::move(store) : nullptr;
  }

  const std::filesystem::path folder_;
  std::unique_ptr<PostgresServer> server_;
};

void BM_Submit(benchmark::State& state) {
  Stores stores;
  std::atomic<int64_t> number{0};
  const int clients = static_cast<int>(state.range(0));
  int64_t sqlite = 0, postgres = 0;
  for (auto _ : state) {
    for (int turn = 0; turn < kTurns; ++turn) {
      sqlite += Submit(*stores.sqlite, clients, number);
      if (stores.postgres != nullptr) postgres += Submit(*stores.postgres, clients, number);
    }
  }
  const double seconds =
      kTurns * std::chrono::duration<double>(kTurn).count() * static_cast<double>(state.iterations());
  state.counters["sqlite_per_s"] = static_cast<double>(sqlite) / seconds;
  state.counters["postgres_per_s"] = static_cast<double>(postgres) / seconds;
  state.counters["postgres_of_sqlite"] = static_cast<double>(postgres) / static_cast<double>(sqlite);
}
BENCHMARK(BM_Submit)->Arg(1)->Arg(8)->Arg(32)->Iterations(1)->UseRealTime()->Unit(benchmark::kSecond);

}  // namespace
}  // namespace quantd::bench

BENCHMARK_MAIN();
