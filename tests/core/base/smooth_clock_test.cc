#include "core/base/smooth_clock.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

class SmoothClockTest : public testing::Test {
 protected:
  // Both clocks run.
  void Pass(absl::Duration duration) {
    steady_ += duration;
    wall_.Advance(duration);
  }

  absl::Duration steady_ = absl::Hours(5);
  FakeClock wall_;
  SmoothClock clock_{wall_, [this] { return steady_; }};
};

TEST_F(SmoothClockTest, ShowsTheWallClockWhileNobodySetsIt) {
  for (const absl::Duration step : {absl::ZeroDuration(), absl::Microseconds(1), absl::Hours(30), absl::Seconds(1)}) {
    Pass(step);
    EXPECT_EQ(clock_.Now(), wall_.Now());
  }
}

TEST_F(SmoothClockTest, JumpsOfTheWallClockChangeNoLeaseByMoreThanTheCorrection) {
  for (const absl::Duration jump : {absl::Hours(24 * 365), -absl::Hours(24 * 365), absl::Seconds(2)}) {
    const absl::Time before = clock_.Now();
    wall_.Advance(jump);
    EXPECT_EQ(clock_.Now(), before) << "no time has passed";
    Pass(absl::Seconds(100));
    const absl::Duration shown = clock_.Now() - before;
    EXPECT_GE(shown, absl::Seconds(95)) << jump;
    EXPECT_LE(shown, absl::Seconds(105)) << jump;
  }
}

TEST_F(SmoothClockTest, ComesBackToTheWallClock) {
  wall_.Advance(absl::Hours(1));
  Pass(absl::Hours(19));
  EXPECT_LT(clock_.Now(), wall_.Now());
  Pass(absl::Hours(1));
  EXPECT_EQ(clock_.Now(), wall_.Now());
}

TEST_F(SmoothClockTest, NeverGoesBackwards) {
  absl::Time last = clock_.Now();
  for (int i = 0; i < 100; ++i) {
    wall_.Advance(i % 2 == 0 ? -absl::Hours(i) : absl::Seconds(i));
    steady_ += absl::Milliseconds(i % 3);
    const absl::Time now = clock_.Now();
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST(SteadyNow, Runs) {
  const absl::Duration begin = SteadyNow();
  EXPECT_GE(SteadyNow(), begin);
}

}  // namespace
}  // namespace quantd
