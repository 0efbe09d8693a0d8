// The job store alone, on this disk: durable submits a second from several threads, on an empty queue and on a long
// one, beside the rate of a bare 4 KiB append with fsync in the same run.
//   per_second, p50_ms, p99_ms, writes_per_commit, cpu_us (of all threads, a submit), syncs_per_second (baseline),
//   submits_per_sync
// The other figures need many finished jobs, put there by SQL: QUANTD_BENCH_JOBS (100,000 by default).
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/program.h"
#include "server/store/sql_job_store.h"
#include "server/store/sqlite_database.h"

namespace quantd::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr auto kRunTime = std::chrono::seconds(4);

double SecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

double ProcessCpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double Percentile(std::vector<double>& values, double share) {
  const size_t index = std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index), values.end());
  return values[index];
}

// Beside the build, not in /tmp: that may be memory, where an fsync costs nothing.
class Folder {
 public:
  Folder() { std::filesystem::create_directories(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_ = absl::StrCat(ExecutableDirectory(), "/store-bench-", getpid());
};

double SyncsPerSecond(const std::string& folder) {
  const std::string path = folder + "/append";
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  const std::string page(4096, 'x');
  const auto begin = SteadyClock::now();
  int count = 0;
  for (; SecondsSince(begin) < 1; ++count) {
    if (write(file, page.data(), page.size()) < 0 || fsync(file) != 0) std::abort();
  }
  close(file);
  return count / SecondsSince(begin);
}

NewJob BenchJob(const std::string& id) {
  NewJob job;
  job.id = id;
  job.spec.set_model("quantd-tiny-llama");
  job.spec.mutable_recipe()->set_preset("gptq");
  job.spec.mutable_calibration()->set_file("books/calibration.txt");
  (*job.spec.mutable_labels())["team"] = "bench";
  job.estimate.set_peak_memory_bytes(1 << 30);
  job.estimate.set_disk_bytes(1 << 28);
  job.request_id = absl::StrCat("00000000-0000-4000-8000-", id);
  job.create_time = absl::Now();
  job.actor = "client:bench";
  return job;
}

// `count` jobs as a submission leaves them, but in state `state`: 1 QUEUED, 7 CANCELLED.
absl::Status FillJobs(SqlDatabase& database, int64_t count, int state) {
  return database.Write(DurableStep::kHousekeeping, [&](SqlConnection& connection) {
    const std::string numbers =
        absl::StrCat("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ", count, ") ");
    return connection.Execute(absl::StrCat(
        numbers,
        "INSERT INTO jobs (id, tenant, state, preset, model, device, rank_us, memory_bytes, disk_bytes, revision, "
        "fence, attempt, worker, incarnation, lost_on, create_us, end_us, stored_bytes, spec) SELECT "
        "'fill-' || lower(hex(randomblob(8))), 'default', ",
        state,
        ", 'gptq', 'quantd-tiny-llama', 'auto', i, 0, 0, "
        "i, 0, 0, '', '', '', i, CASE WHEN ",
        state, " >= 4 THEN i END, 0, x'0A016D12060A0467707471' FROM n;",
        "INSERT INTO events SELECT revision, sequence, state, create_us, x'' FROM jobs;",
        "INSERT INTO requests SELECT tenant, lower(hex(randomblob(16))), sequence, create_us FROM jobs;",
        "INSERT INTO audit (time_us, tenant, job, job_id, actor, action, detail) "
        "SELECT create_us, tenant, sequence, id, 'client:x', 'submit', '' FROM jobs;",
        "INSERT INTO tallies VALUES (", state, ", 'default', 'auto', 0, ", count, ", 0);",
        "UPDATE counters SET value = ", count, " WHERE name = 'revision'"));
  });
}

struct Store {
  std::atomic<int64_t> commits{0};
  std::atomic<int64_t> writes{0};
  std::unique_ptr<JobStore> jobs;

  Store(const std::string& folder, int64_t count, int state) {
    auto database = OpenSqliteDatabase({.path = folder + "/quantd.db",
                                        .clock = RealClock(),
                                        .on_commit =
                                            [this](double, int in_batch) {
                                              ++commits;
                                              writes += in_batch;
                                            }})
                        .value();
    if (count > 0 && !FillJobs(*database, count, state).ok()) std::abort();
    jobs = NewSqlJobStore(std::move(database));
    commits = writes = 0;
  }
};

// Calls `body(thread, i)` from each thread until the time is up; the seconds of all calls.
std::vector<double> RunThreads(int threads, const std::function<void(int, int)>& body) {
  std::vector<std::vector<double>> seconds(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  const auto end = SteadyClock::now() + kRunTime;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      for (int i = 0; SteadyClock::now() < end; ++i) {
        const auto begin = SteadyClock::now();
        body(t, i);
        seconds[static_cast<size_t>(t)].push_back(SecondsSince(begin));
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  std::vector<double> all;
  for (const auto& some : seconds) all.insert(all.end(), some.begin(), some.end());
  return all;
}

void Report(benchmark::State& state, std::vector<double> seconds, double elapsed) {
  state.SetIterationTime(Percentile(seconds, 0.5));
  state.counters["per_second"] = static_cast<double>(seconds.size()) / elapsed;
  state.counters["p50_ms"] = 1000 * Percentile(seconds, 0.5);
  state.counters["p99_ms"] = 1000 * Percentile(seconds, 0.99);
}

void BM_Submit(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  for (auto _ : state) {
    const Folder folder;
    const double syncs = SyncsPerSecond(folder.path());
    Store store(folder.path(), state.range(1), /*state=*/1);
    const auto begin = SteadyClock::now();
    const double cpu = ProcessCpuSeconds();
    std::vector<double> seconds = RunThreads(threads, [&](int thread, int i) {
      if (!store.jobs->Submit(BenchJob(absl::StrCat("job-", thread, "-", i)), {.max_queued = 1'000'000'000}).ok()) {
        std::abort();
      }
    });
    state.counters["cpu_us"] = 1e6 * (ProcessCpuSeconds() - cpu) / static_cast<double>(seconds.size());
    Report(state, std::move(seconds), SecondsSince(begin));
    state.counters["writes_per_commit"] = static_cast<double>(store.writes) / static_cast<double>(store.commits);
    state.counters["syncs_per_second"] = syncs;
    state.counters["submits_per_sync"] = state.counters["per_second"] / syncs;
  }
}
BENCHMARK(BM_Submit)
    ->ArgNames({"threads", "queued"})
    ->ArgsProduct({{1, 8, 32}, {0, 100'000}})
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

int64_t FinishedJobs() {
  const char* text = std::getenv("QUANTD_BENCH_JOBS");
  return text == nullptr ? 100'000 : std::atoll(text);
}

// One call after the other beside many finished jobs.
template <typename Call>
void WithFinishedJobs(benchmark::State& state, Call call) {
  const Folder folder;
  Store store(folder.path(), FinishedJobs(), /*state=*/7);
  for (int i = 0; i < 5000; ++i) {
    if (!store.jobs->Submit(BenchJob(absl::StrCat("job-0-", i)), {}).ok()) std::abort();
  }
  for (auto _ : state) {
    if (!call(*store.jobs)) state.SkipWithError("failed");
  }
  state.counters["finished_jobs"] = static_cast<double>(FinishedJobs());
}

void BM_Get(benchmark::State& state) {
  int i = 0;
  WithFinishedJobs(state, [&](JobStore& jobs) { return jobs.Get(absl::StrCat("job-0-", i++ % 5000)).ok(); });
}
BENCHMARK(BM_Get)->Iterations(2000)->Unit(benchmark::kMillisecond);

void BM_ListFirstPage(benchmark::State& state) {
  WithFinishedJobs(state, [](JobStore& jobs) { return jobs.List({}).ok(); });
}
BENCHMARK(BM_ListFirstPage)->Iterations(2000)->Unit(benchmark::kMillisecond);

void BM_ListPageOfStateFarDown(benchmark::State& state) {
  const JobQuery query = {.states = {v1::QuantJob::CANCELLED, v1::QuantJob::FAILED},
                          .before_sequence = FinishedJobs() / 2};
  WithFinishedJobs(state, [&](JobStore& jobs) { return jobs.List(query).ok(); });
}
BENCHMARK(BM_ListPageOfStateFarDown)->Iterations(2000)->Unit(benchmark::kMillisecond);

void BM_Counts(benchmark::State& state) {
  WithFinishedJobs(state, [](JobStore& jobs) { return jobs.CountByState().ok() && jobs.SummarizeQueue().ok(); });
}
BENCHMARK(BM_Counts)->Iterations(2000)->Unit(benchmark::kMillisecond);

void BM_Claim(benchmark::State& state) {
  WithFinishedJobs(state, [](JobStore& jobs) {
    const auto claimed = jobs.Claim({.devices = {"cpu"}, .now = absl::Now()}, [](JobRecord& record) {
      record.job.set_state(v1::QuantJob::RUNNING);
      record.fence += 1;
      record.lease_deadline = absl::Now() + absl::Hours(1);
      return absl::OkStatus();
    });
    return claimed.ok() && claimed->has_value();
  });
}
BENCHMARK(BM_Claim)->Iterations(2000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
