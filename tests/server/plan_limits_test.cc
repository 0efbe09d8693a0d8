// How long the check of a job may wait and take, and which of the two its error names.
#include <gtest/gtest.h>

#include <future>
#include <new>
#include <thread>

#include "server/planner/planner.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

class PlanLimitsTest : public testing::Test {
 protected:
  std::unique_ptr<Planner> NewPlanner(absl::Duration timeout) {
    const std::string folder = MakeTempDir();
    return NewQuantPlanner({.quant_path = "quant",
                            .models = {.root = folder},
                            .data_root = folder,
                            .scratch_dir = folder,
                            .timeout = timeout,
                            .max_processes = 1},
                           quant_program_);
  }

  // Each its own, so that no answer is kept.
  static v1::QuantJobSpec Spec(const std::string& model) {
    v1::QuantJobSpec spec;
    spec.set_model(model);
    return spec;
  }

  static CommandResult Killed() {
    CommandResult result;
    result.timed_out = true;
    return result;
  }

  FakeQuant quant_program_;
};

TEST_F(PlanLimitsTest, APlanThatTakesTooLongNamesItsLimit) {
  const auto planner = NewPlanner(absl::Milliseconds(70));
  quant_program_.plan = [](absl::Duration) { return Killed(); };
  const auto by_setting = planner->Plan(Spec("huge"), absl::InfiniteFuture());
  EXPECT_EQ(by_setting.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(by_setting, FailsWith("PLAN_TIMED_OUT", "plan_timeout_ms = 70 ms"));
  EXPECT_THAT(by_setting, FailsWith("PLAN_TIMED_OUT", "'huge'"));

  const auto by_caller = NewPlanner(absl::Hours(1))->Plan(Spec("huge"), absl::Now() + absl::Minutes(1));
  EXPECT_THAT(by_caller, FailsWith("PLAN_TIMED_OUT", "until the call's deadline (plan_timeout_ms = 3600000)"));
}

// A plan for model "a" is under way and holds the only process until it is released.
class BusyPlannerTest : public PlanLimitsTest {
 protected:
  void Occupy(absl::Duration timeout) {
    quant_program_.plan = [this](absl::Duration limit) {
      limits_.push_back(limit);  // one process: never two at once
      if (limits_.size() == 1) {
        started_.set_value();
        finish_.get_future().wait();
      }
      return FakeQuant::Prints("{}");
    };
    planner_ = NewPlanner(timeout);
    first_ = std::thread([this] { EXPECT_OK(planner_->Plan(Spec("a"), absl::InfiniteFuture())); });
    started_.get_future().wait();
  }
  void Release() {
    finish_.set_value();
    first_.join();
  }

  std::unique_ptr<Planner> planner_;
  std::promise<void> started_;
  std::promise<void> finish_;
  std::vector<absl::Duration> limits_;  // of every plan
  std::thread first_;
};

TEST_F(BusyPlannerTest, WaitingForAProcessIsAnotherMatterThanPlanning) {
  const absl::Duration timeout = absl::Seconds(20);
  Occupy(timeout);
  const auto busy = planner_->Plan(Spec("b"), absl::Now() + absl::Milliseconds(20));
  EXPECT_EQ(busy.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(busy, FailsWith("PLANNER_BUSY", "one of 1 planner processes"));
  EXPECT_EQ(quant_program_.plans(), 1) << "the one that waited was not begun";

  std::thread second([&] { EXPECT_OK(planner_->Plan(Spec("c"), absl::InfiniteFuture())); });
  Release();
  second.join();
  EXPECT_THAT(limits_, testing::ElementsAre(timeout, timeout)) << "what it waited is not taken from its own time";
}

TEST_F(BusyPlannerTest, TheWaitIsLimitedByTheSettingToo) {
  Occupy(absl::Milliseconds(30));
  EXPECT_THAT(planner_->Plan(Spec("b"), absl::InfiniteFuture()), FailsWith("PLANNER_BUSY", "plan_timeout_ms = 30 ms"));
  Release();
}

TEST_F(PlanLimitsTest, AProcessThatCouldNotBeRunLeavesItsPlaceFree) {
  const auto planner = NewPlanner(absl::Milliseconds(100));
  quant_program_.plan = [](absl::Duration) -> CommandResult { throw std::bad_alloc(); };
  EXPECT_THROW((void)planner->Plan(Spec("a"), absl::InfiniteFuture()), std::bad_alloc);
  quant_program_.plan = [](absl::Duration) { return FakeQuant::Prints("{}"); };
  EXPECT_OK(planner->Plan(Spec("a"), absl::InfiniteFuture()));
}

}  // namespace
}  // namespace quantd
