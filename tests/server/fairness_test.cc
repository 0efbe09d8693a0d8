// In which order jobs start, and what one tenant or one job can do to the others.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "server/scheduler/fair_order.h"
#include "tests/server/scheduler_simulation.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;

// Long enough that no simulated worker has to renew.
constexpr absl::Duration kLongLease = absl::Hours(24 * 365);
constexpr absl::Duration kStart = absl::ZeroDuration();

std::vector<std::string> Order(const SchedulerSimulation& simulation) {
  std::vector<std::string> order;
  for (const SimulatedRun* run : simulation.Starts()) order.push_back(run->job.id);
  return order;
}

TEST(Fairness, SharesOfAThousandStartsAreAsTheWeights) {
  SchedulerSimulation simulation({.lease = kLongLease});
  simulation.SetTenants(R"({"one": {"weight": 1}, "two": {"weight": 2}, "five": {"weight": 5}})");
  const std::map<std::string, double> weights = {{"one", 1}, {"two", 2}, {"five", 5}};
  for (const auto& [tenant, weight] : weights) {
    for (int i = 0; i < 1000; ++i) simulation.SubmitAt(kStart, {.id = absl::StrCat(tenant, i), .tenant = tenant});
  }
  simulation.AddWorker("w", {.slots = 1});
  simulation.Run();
  std::map<std::string, int> starts;
  for (int i = 0; i < 1000; ++i) ++starts[simulation.Starts()[static_cast<size_t>(i)]->job.tenant];
  for (const auto& [tenant, weight] : weights) {
    const double share = 1000 * weight / 8;
    EXPECT_NEAR(starts[tenant], share, 0.05 * share) << tenant;
  }
}

TEST(Fairness, OneJobBehindTenThousandOfAnotherTenantStartsWithinOneTurn) {
  SchedulerSimulation simulation({.lease = kLongLease});
  constexpr int kMany = 10'000;
  for (int i = 0; i < kMany; ++i) {
    NewJob job;
    job.id = absl::StrCat("many", i);
    job.tenant = "many";
    job.create_time = absl::FromUnixSeconds(1'600'000'000);
    job.spec.set_priority(kMaxPriority);
    ASSERT_OK(simulation.store().Submit(job, {}));
  }
  ASSERT_OK_AND_ASSIGN(const auto counts, simulation.store().CountByTenant());
  ASSERT_EQ(counts.at("many").queued, kMany);
  std::vector<std::string> turns;
  const auto claim = [&] {
    const auto start = [&](JobRecord& record) {
      return StartAttempt(record, {"w", "first"}, simulation.store().Now(), kLongLease);
    };
    const auto claimed = simulation.store().Claim({.devices = {"cpu"}, .now = simulation.store().Now()}, start);
    ASSERT_OK(claimed);
    ASSERT_TRUE(claimed->has_value());
    turns.push_back((*claimed)->tenant);
  };
  for (int i = 0; i < 20; ++i) claim();
  simulation.SubmitAt(kStart, {.id = "single", .tenant = "single", .priority = kMinPriority});
  simulation.Run();
  claim();
  EXPECT_EQ(turns.back(), "single");
  claim();
  EXPECT_EQ(turns.back(), "many");
}

TEST(Fairness, IdlingSavesNothingUp) {
  SchedulerSimulation simulation({.lease = kLongLease});
  simulation.AddWorker("w", {.slots = 1});
  for (int i = 0; i < 100; ++i) simulation.SubmitAt(kStart, {.id = absl::StrCat("busy", i), .tenant = "busy"});
  // After 50 turns of the other: it gets every second one from then on, not 50 in a row.
  for (int i = 0; i < 20; ++i) {
    simulation.SubmitAt(absl::Minutes(50) - absl::Seconds(1), {.id = absl::StrCat("late", i), .tenant = "late"});
  }
  simulation.Run();
  int late = 0;
  for (size_t i = 50; i < 70; ++i) late += simulation.Starts()[i]->job.tenant == "late" ? 1 : 0;
  EXPECT_NEAR(late, 10, 1);
}

TEST(Fairness, PriorityGoesFirstWithinATenant) {
  SchedulerSimulation simulation({.lease = kLongLease});
  simulation.AddWorker("w", {.slots = 1});
  simulation.SubmitAt(kStart, {.id = "running"});
  const absl::Duration then = absl::Seconds(1);
  simulation.SubmitAt(then, {.id = "low", .priority = -5});
  simulation.SubmitAt(then, {.id = "normal"});
  simulation.SubmitAt(then, {.id = "high", .priority = 5});
  simulation.Run();
  EXPECT_THAT(Order(simulation), ElementsAre("running", "high", "normal", "low"));
}

// More work of the highest priority than the fleet can do, for ever: the bound of docs/scheduling.md still holds.
TEST(Fairness, TheLowestPriorityRunsWithinItsBound) {
  constexpr absl::Duration kAgeing = absl::Minutes(1);
  const absl::Duration kBound = kAgeing * (kMaxPriority - kMinPriority);
  SchedulerSimulation simulation({.lease = kLongLease, .ageing = kAgeing});
  simulation.AddWorker("w", {.slots = 1});
  constexpr absl::Duration kSubmitted = absl::Minutes(10);
  simulation.SubmitAt(kSubmitted, {.id = "lowest", .priority = kMinPriority});
  for (int i = 0; i < 600; ++i) {
    simulation.SubmitAt(i * absl::Seconds(40), {.id = absl::StrCat("high", i), .priority = kMaxPriority});
  }
  simulation.Run();
  const SimulatedRun& lowest = simulation.Of("lowest");
  ASSERT_GE(lowest.order, 0);
  int before = 0;
  for (const SimulatedRun* run : simulation.Starts()) {
    if (run->order < lowest.order) {
      ++before;
      EXPECT_LT(run->submitted, kSubmitted + kBound) << run->job.id << " overtook it too late";
    } else if (run->order > lowest.order) {
      EXPECT_GE(run->submitted, kSubmitted + kBound) << run->job.id << " should have overtaken it";
    }
  }
  EXPECT_GT(before, 200) << "it really was overtaken";
}

// The store's queries against the formulas of fair_order.h, job by job.
TEST(Fairness, TheStoreFollowsTheFormulas) {
  constexpr absl::Duration kAgeing = absl::Seconds(100);
  const std::map<std::string, double> weights = {{"a", 1}, {"b", 2.5}, {"c", 0.3}, {"d", 7}};
  SchedulerSimulation simulation({.lease = kLongLease, .ageing = kAgeing});
  simulation.SetTenants(R"({"a": {"weight": 1}, "b": {"weight": 2.5}, "c": {"weight": 0.3}, "d": {"weight": 7}})");
  std::mt19937 random(7);
  std::vector<SimulatedJob> jobs;
  simulation.SubmitAt(kStart, {.id = "first", .tenant = "z"});
  simulation.AddWorker("w", {.slots = 1});
  for (int i = 0; i < 400; ++i) {
    SimulatedJob job;
    job.id = absl::StrCat("j", i);
    job.tenant = std::string(1, static_cast<char>('a' + random() % 4));
    job.priority = static_cast<int>(random() % 201) - 100;
    jobs.push_back(job);
    simulation.SubmitAt(i * absl::Milliseconds(100), job);
  }
  simulation.Run();

  std::vector<std::string> expected = {"first"};
  std::map<std::string, int64_t> virtual_times;
  int64_t clock = 0;
  std::vector<bool> started(jobs.size());
  const auto rank = [&](size_t i) {
    return RankMicros(absl::UnixEpoch() + i * absl::Milliseconds(100), jobs[i].priority, kAgeing);
  };
  while (expected.size() <= jobs.size()) {
    size_t next = jobs.size();
    const auto key = [&](size_t i) {
      return std::make_tuple(TurnStart(virtual_times[jobs[i].tenant], clock), jobs[i].tenant, rank(i), i);
    };
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (!started[i] && (next == jobs.size() || key(i) < key(next))) next = i;
    }
    started[next] = true;
    clock = TurnStart(virtual_times[jobs[next].tenant], clock);
    virtual_times[jobs[next].tenant] = clock + TurnCost(weights.at(jobs[next].tenant));
    expected.push_back(jobs[next].id);
  }
  EXPECT_EQ(Order(simulation), expected);
}

TEST(Fairness, ATenantNeverRunsMoreThanItsLimit) {
  SchedulerSimulation simulation({.lease = kLongLease});
  simulation.SetTenants(R"({"limited": {"max_running": 2}})");
  for (int i = 0; i < 4; ++i) simulation.AddWorker(absl::StrCat("w", i), {.slots = 2});
  for (int i = 0; i < 20; ++i) {
    simulation.SubmitAt(kStart, {.id = absl::StrCat("l", i), .tenant = "limited"});
    simulation.SubmitAt(kStart, {.id = absl::StrCat("f", i), .tenant = "free"});
  }
  simulation.Run();
  for (const auto& [id, run] : simulation.runs()) {
    ASSERT_GE(run.order, 0) << id;
    if (run.job.tenant != "limited") continue;
    int beside = 0;
    for (const auto& [other, theirs] : simulation.runs()) {
      const bool together = theirs.started <= run.started && theirs.ended > run.started;
      beside += theirs.job.tenant == "limited" && together ? 1 : 0;
    }
    EXPECT_LE(beside, 2) << id;
  }
}

// Small jobs for ever, of which each worker always runs some: the large one still gets its room, on one worker.
TEST(Fairness, ALargeJobIsNotStarvedBySmallOnes) {
  constexpr absl::Duration kAgeing = absl::Minutes(10);
  SchedulerSimulation simulation({.lease = absl::Hours(1), .ageing = kAgeing});
  for (int i = 0; i < 2; ++i) simulation.AddWorker(absl::StrCat("w", i), {.slots = 2, .memory_bytes = 100});
  for (int i = 0; i < 400; ++i) {
    simulation.SubmitAt(i * absl::Seconds(14), {.id = absl::StrCat("small", i), .memory_bytes = 40});
  }
  simulation.SubmitAt(absl::Minutes(5) + absl::Seconds(1), {.id = "large", .memory_bytes = 90});
  simulation.Run();
  const SimulatedRun& large = simulation.Of("large");
  const absl::Duration waited = large.started - large.submitted;
  EXPECT_GE(waited, kAgeing) << "small jobs did not leave room by themselves";
  EXPECT_LE(waited, kAgeing + absl::Minutes(3)) << "a turn until it is first in line, one to end what runs, and one";
}

TEST(Fairness, APoisonJobCostsTheOthersLessThanATenthOfTheirThroughput) {
  const auto finished = [](int poisons) {
    SchedulerSimulation simulation({.lease = kLongLease});
    for (int i = 0; i < 4; ++i) simulation.AddWorker(absl::StrCat("w", i), {.slots = 1});
    for (int i = 0; i < poisons; ++i) {
      simulation.SubmitAt(kStart, {.id = "poison", .run = absl::Seconds(30), .crashes = true});
    }
    for (int i = 0; i < 100; ++i) simulation.SubmitAt(kStart, {.id = absl::StrCat("good", i)});
    simulation.Run();
    absl::Duration last;
    for (const auto& [id, run] : simulation.runs()) {
      if (id != "poison") last = std::max(last, run.ended);
    }
    if (poisons > 0) {
      EXPECT_EQ(simulation.Of("poison").workers.size(), static_cast<size_t>(kDefaultMaxAttempts));
      const auto record = simulation.store().Get("poison");
      EXPECT_OK(record);
      EXPECT_EQ(record->job.state(), v1::QuantJob::FAILED);
      EXPECT_EQ(record->job.error().signal(), 11);
    }
    return last;
  };
  const absl::Duration baseline = finished(0);
  EXPECT_EQ(baseline, absl::Minutes(25));
  EXPECT_LE(finished(1), baseline / 0.9);
}

}  // namespace
}  // namespace quantd
