#include "server/scheduler/run_times.h"

#include <gtest/gtest.h>

#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

v1::QuantJob Ended(double multiply_adds, double seconds, const std::string& device = "cpu") {
  v1::QuantJob job;
  job.mutable_spec()->set_device(device);
  job.mutable_estimate()->set_multiply_adds(multiply_adds);
  job.mutable_actuals()->set_run_seconds(seconds);
  return job;
}

double Estimate(const RunTimes& times, double multiply_adds, const std::string& device = "cpu") {
  const v1::QuantJob job = Ended(multiply_adds, 0, device);
  return times.Estimate(job.spec(), job.estimate());
}

TEST(RunTimes, EstimatesByWhatMultiplyAddsHaveCostOnTheDevice) {
  RunTimes times;
  EXPECT_EQ(Estimate(times, 1e12), 0) << "nothing is known";
  times.Learn(Ended(1e12, 100));
  times.Learn(Ended(1e9, 1));  // mostly overhead: counts by its size
  EXPECT_NEAR(Estimate(times, 2e12), 2e12 * 101 / 1.001e12, 1e-9);
  EXPECT_EQ(Estimate(times, 1e12, "cuda"), 0);
  times.Learn(Ended(1e12, 2, "cuda"));
  EXPECT_DOUBLE_EQ(Estimate(times, 3e12, "cuda"), 6);
  EXPECT_EQ(Estimate(times, 0), 0);
}

TEST(RunTimes, OldRunsAndThoseThatTellNothingAreLeftOut) {
  RunTimes times;
  v1::QuantJob resumed = Ended(1e12, 1);
  resumed.mutable_actuals()->set_resumed_from_block(3);
  times.Learn(resumed);
  times.Learn(Ended(0, 5));
  times.Learn(Ended(1e12, 0));
  EXPECT_EQ(Estimate(times, 1e12), 0);
  times.Learn(Ended(1e12, 1000));
  for (size_t i = 0; i < RunTimes::kRemembered; ++i) times.Learn(Ended(1e12, 10));
  EXPECT_DOUBLE_EQ(Estimate(times, 1e12), 10) << "the first has been forgotten";
}

class RunTimesOfServiceTest : public SchedulerTest {
 protected:
  // Runs for 50 s what takes 2e12 multiply-adds.
  void RunOne(const std::string& id) {
    NewJob job = NewJobOf(id);
    job.estimate.set_multiply_adds(2e12);
    scheduler_->EstimateTime(job.spec, job.estimate);
    ASSERT_OK(scheduler_->Submit(job));
    const v1::SynchronizeResponse answer = Answer(Request("w"));
    ASSERT_EQ(answer.assignments_size(), 1);
    for (int i = 0; i < 5; ++i) {
      clock_.Advance(absl::Seconds(10));
      Heartbeat("w", id, 1);
    }
    Finish("w", Uploaded(id, 1));
    ASSERT_EQ(Job(id).state(), v1::QuantJob::SUCCEEDED);
  }
};

TEST_F(RunTimesOfServiceTest, EstimatesAreStoredBesideActualsAndSurviveARestart) {
  RunOne("first");
  EXPECT_EQ(Job("first").estimate().run_seconds(), 0);
  EXPECT_DOUBLE_EQ(Job("first").actuals().run_seconds(), 50);
  RunOne("second");
  EXPECT_DOUBLE_EQ(Job("second").estimate().run_seconds(), 50);
  EXPECT_THAT(metrics_.Text(), testing::HasSubstr("quantd_job_estimate_ratio_count{what=\"time\"} 1"))
      << "of the second: there was no estimate of the first";
  Restart();
  ASSERT_OK(scheduler_->LearnRunTimes());
  v1::JobEstimate estimate;
  estimate.set_multiply_adds(4e12);
  scheduler_->EstimateTime(NewJobOf("third").spec, estimate);
  EXPECT_DOUBLE_EQ(estimate.run_seconds(), 100);
}

}  // namespace
}  // namespace quantd
