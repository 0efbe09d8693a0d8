// 15,000 jobs in three sizes of three tenants on a simulated fleet, against the committed bounds of
// scheduler_ranges.json. QUANTD_SIMULATION_SEEDS=N simulates N seeds and prints what each gives: that is how the bounds
// that no formula gives were found.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/json.h"
#include "tests/server/scheduler_simulation.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int kJobs = 15'000;
constexpr int64_t kGigabyte = 1'000'000'000;
// Large jobs fit the large workers alone.
struct Fleet {
  int workers;
  int slots;  // of each
  int64_t memory_bytes;
};
constexpr Fleet kFleet[] = {{12, 1, 16 * kGigabyte}, {14, 2, 40 * kGigabyte}};
constexpr int kSlots = 12 * 1 + 14 * 2;
// Jobs arrive evenly over 60 % of the time that the fleet needs for them: the queue grows, then drains.
constexpr double kArrivalShare = 0.6;

struct Size {
  const char* name;
  double share;  // of the jobs
  absl::Duration run;
  int64_t memory_bytes;
};
constexpr Size kSizes[] = {
    {"small", 0.70, absl::Minutes(1), 4 * kGigabyte},
    {"medium", 0.25, absl::Minutes(10), 12 * kGigabyte},
    {"large", 0.05, absl::Minutes(60), 20 * kGigabyte},
};

struct Tenant {
  const char* name;
  double share;  // of the jobs
  double weight;
};
constexpr Tenant kTenants[] = {{"a", 0.2, 1}, {"b", 0.3, 2}, {"c", 0.5, 4}};

template <typename Row, size_t n>
const Row& Draw(const Row (&rows)[n], std::mt19937& random) {
  double left = std::uniform_real_distribution<double>(0, 1)(random);
  for (const Row& row : rows) {
    left -= row.share;
    if (left < 0) return row;
  }
  return rows[n - 1];
}

const Size& SizeOf(const SimulatedJob& job) {
  return *std::find_if(std::begin(kSizes), std::end(kSizes), [&](const Size& size) { return size.run == job.run; });
}

absl::Duration NeededTime() {
  absl::Duration mean;
  for (const Size& size : kSizes) mean += size.share * size.run;
  return kJobs * mean / kSlots;
}

using Measures = std::map<std::string, double>;

// Waiting times by size.
void MeasureWaits(const SchedulerSimulation& simulation, Measures& measures) {
  std::map<std::string, std::vector<double>> waits;
  for (const auto& [id, run] : simulation.runs()) {
    waits[SizeOf(run.job).name].push_back(absl::ToDoubleSeconds(run.started - run.submitted));
  }
  for (auto& [size, seconds] : waits) {
    std::sort(seconds.begin(), seconds.end());
    double sum = 0;
    for (const double second : seconds) sum += second;
    measures[absl::StrCat("wait_mean_seconds.", size)] = sum / static_cast<double>(seconds.size());
    measures[absl::StrCat("wait_p99_seconds.", size)] = seconds[seconds.size() * 99 / 100];
  }
}

// The largest relative difference of a tenant's share of the starts from its weight's, over 1,000 starts in which all
// of them have jobs waiting: those from the middle of the arrivals on.
double ShareError(const SchedulerSimulation& simulation) {
  std::map<std::string, int> starts;
  int counted = 0;
  for (const SimulatedRun* run : simulation.Starts()) {
    if (run->started < NeededTime() * kArrivalShare / 2 || counted == 1000) continue;
    ++starts[run->job.tenant];
    ++counted;
  }
  double weights = 0;
  for (const Tenant& tenant : kTenants) weights += tenant.weight;
  double error = 0;
  for (const Tenant& tenant : kTenants) {
    error = std::max(error, std::abs(starts[tenant.name] / (counted * tenant.weight / weights) - 1));
  }
  return error;
}

// Busy slots until the last start, of all.
double Utilisation(const SchedulerSimulation& simulation) {
  absl::Duration last;
  for (const SimulatedRun* run : simulation.Starts()) last = std::max(last, run->started);
  absl::Duration busy;
  for (const auto& [id, run] : simulation.runs()) busy += std::min(run.ended, last) - run.started;
  return absl::FDivDuration(busy, last * kSlots);
}

Measures Simulate(uint32_t seed) {
  SchedulerSimulation simulation({.lease = absl::Hours(24 * 365)});
  simulation.SetTenants(R"({"a": {"weight": 1}, "b": {"weight": 2}, "c": {"weight": 4}})");
  int named = 0;
  for (const Fleet& fleet : kFleet) {
    for (int i = 0; i < fleet.workers; ++i) {
      simulation.AddWorker(absl::StrCat("w", named++), {.slots = fleet.slots, .memory_bytes = fleet.memory_bytes});
    }
  }
  std::mt19937 random(seed);
  for (int i = 0; i < kJobs; ++i) {
    const Size& size = Draw(kSizes, random);
    simulation.SubmitAt(NeededTime() * kArrivalShare * i / kJobs,
                        {.id = absl::StrCat("j", i),
                         .tenant = Draw(kTenants, random).name,
                         .priority = std::uniform_int_distribution<int>(-10, 10)(random),
                         .run = size.run,
                         .memory_bytes = size.memory_bytes});
  }
  simulation.Run();
  EXPECT_EQ(simulation.Starts().size(), static_cast<size_t>(kJobs));
  Measures measures;
  MeasureWaits(simulation, measures);
  measures["share_error"] = ShareError(simulation);
  measures["utilisation"] = Utilisation(simulation);
  return measures;
}

int Seeds() {
  const char* text = std::getenv("QUANTD_SIMULATION_SEEDS");
  int seeds = 1;
  return text != nullptr && absl::SimpleAtoi(text, &seeds) ? seeds : 1;
}

TEST(SchedulerRanges, FifteenThousandJobsStayWithinTheCommittedBounds) {
  ASSERT_OK_AND_ASSIGN(const Json file, ReadJsonFile(SourcePath("tests/server/scheduler_ranges.json")));
  for (uint32_t seed = 1; seed <= static_cast<uint32_t>(Seeds()); ++seed) {
    const Measures measures = Simulate(seed);
    for (const auto& [name, value] : measures) {
      std::printf("seed %u %s %.6g\n", seed, name.c_str(), value);
      ASSERT_TRUE(file.at("ranges").contains(name)) << name;
      const Json& range = file.at("ranges").at(name);
      EXPECT_GE(value, range.at("minimum").get<double>()) << name << ", seed " << seed;
      EXPECT_LE(value, range.at("maximum").get<double>()) << name << ", seed " << seed;
      EXPECT_FALSE(range.at("derived").get<std::string>().empty()) << name;
    }
    EXPECT_EQ(measures.size(), file.at("ranges").size()) << "a bound without a measure";
  }
}

}  // namespace
}  // namespace quantd
