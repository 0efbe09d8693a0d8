// Who is woken by what.
#include "server/scheduler/waiting_workers.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace quantd {
namespace {

constexpr absl::Duration kNow = absl::ZeroDuration();

class WaitingWorkersTest : public testing::Test {
 protected:
  // Waits, after a scan that found nothing.
  std::unique_ptr<WaitingWorkers::Place> Idle(const std::string& worker, WorkerOffer offer = Cpu()) {
    auto place = std::make_unique<WaitingWorkers::Place>(waiting_, worker, offer);
    place->BeginScan();
    place->EndScan({}, offer);
    return place;
  }
  static WorkerOffer Cpu() { return {.takes_jobs = true, .devices = {"cpu"}}; }
  static void Scan(WaitingWorkers::Place& place, const std::vector<std::string>& claimed) {
    place.BeginScan();
    place.EndScan(claimed, Cpu());
  }
  static JobNeeds Any() { return {.device = "auto"}; }

  WaitingWorkers waiting_;
};

TEST_F(WaitingWorkersTest, AJobWakesOneWorker) {
  const auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.JobArrived("job", Any());
  EXPECT_TRUE(a->Wait(kNow));
  EXPECT_FALSE(b->Wait(kNow));
  Scan(*a, {"job"});
  EXPECT_FALSE(a->Wait(kNow));
  EXPECT_FALSE(b->Wait(kNow)) << "the job has been taken";
}

TEST_F(WaitingWorkersTest, EachOfSeveralJobsWakesAnother) {
  const auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.JobArrived("first", Any());
  waiting_.JobArrived("second", Any());
  EXPECT_TRUE(a->Wait(kNow));
  EXPECT_TRUE(b->Wait(kNow));
}

TEST_F(WaitingWorkersTest, AWorkerThatDoesNotTakeTheJobPassesItOnOnceToEach) {
  const auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.JobArrived("job", Any());
  Scan(*a, {});
  EXPECT_FALSE(a->Wait(kNow));
  ASSERT_TRUE(b->Wait(kNow));
  Scan(*b, {"another"});
  EXPECT_FALSE(a->Wait(kNow)) << "it has scanned since the job arrived";
  EXPECT_FALSE(b->Wait(kNow));
}

TEST_F(WaitingWorkersTest, AWorkerThatLeavesPassesItOn) {
  auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.JobArrived("job", Any());
  a.reset();
  EXPECT_TRUE(b->Wait(kNow));
}

TEST_F(WaitingWorkersTest, AWorkerThatLeavesDuringItsScanPassesItOn) {
  auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.JobArrived("job", Any());
  a->BeginScan();
  EXPECT_FALSE(b->Wait(kNow));
  a.reset();
  EXPECT_TRUE(b->Wait(kNow));
}

TEST_F(WaitingWorkersTest, WhatArrivesDuringAScanIsNotMissed) {
  WaitingWorkers::Place place(waiting_, "a", Cpu());
  place.BeginScan();
  waiting_.JobArrived("job", Any());
  place.EndScan({}, Cpu());
  EXPECT_TRUE(place.Wait(kNow));
}

struct FitCase {
  const char* name;
  JobNeeds needs;
  WorkerOffer offer;
  bool fits;
};

TEST_F(WaitingWorkersTest, OnlyWorkersThatFitAreWoken) {
  const WorkerOffer small = {.takes_jobs = true, .devices = {"cpu"}, .memory_bytes = 10, .disk_bytes = 20};
  for (const FitCase& row : {
           FitCase{"all of it", {"cpu", 10, 20}, small, true},
           {"any device", {"auto", 1, 1}, small, true},
           {"unknown job", {"", 0, 0}, small, true},
           {"other device", {"cuda", 1, 1}, small, false},
           {"memory", {"cpu", 11, 1}, small, false},
           {"disk", {"cpu", 1, 21}, small, false},
           {"no slot", {"auto", 0, 0}, {.takes_jobs = false, .devices = {"cpu"}}, false},
       }) {
    WaitingWorkers waiting;
    WaitingWorkers::Place place(waiting, "a", row.offer);
    waiting.JobArrived("job", row.needs);
    EXPECT_EQ(place.Wait(kNow), row.fits) << row.name;
  }
}

TEST_F(WaitingWorkersTest, LookAgainGoesAroundOnce) {
  const auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.LookAgain();
  ASSERT_TRUE(a->Wait(kNow));
  EXPECT_FALSE(b->Wait(kNow)) << "one after the other";
  Scan(*a, {"something"});
  ASSERT_TRUE(b->Wait(kNow)) << "there may be more";
  Scan(*b, {});
  EXPECT_FALSE(a->Wait(kNow));
}

TEST_F(WaitingWorkersTest, OrdersWakeTheirWorkerAlone) {
  const auto a = Idle("a");
  const auto b = Idle("b");
  waiting_.WakeWorker("b");
  EXPECT_FALSE(a->Wait(kNow));
  EXPECT_TRUE(b->Wait(kNow));
  waiting_.WakeAll();
  EXPECT_TRUE(a->Wait(kNow));
}

TEST_F(WaitingWorkersTest, ALaterCallOfAWorkerWakesItsEarlierOne) {
  const auto earlier = Idle("a");
  const auto later = Idle("a");
  EXPECT_TRUE(earlier->Wait(kNow));
  EXPECT_FALSE(later->Wait(kNow));
}

TEST_F(WaitingWorkersTest, WaitEndsAsSoonAsThereIsAReason) {
  const auto place = Idle("a");
  std::thread other([&] { waiting_.JobArrived("job", Any()); });
  EXPECT_TRUE(place->Wait(absl::Minutes(5)));
  other.join();
}

}  // namespace
}  // namespace quantd
