// A check that has just passed is not repeated, and not remembered for long.
#include "server/api/recent_checks.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace quantd {
namespace {

v1::JobEstimate EstimateOf(int64_t bytes) {
  v1::JobEstimate estimate;
  estimate.set_artifact_bytes(bytes);
  return estimate;
}

TEST(RecentChecksTest, OnlyTheSameSpecFindsItsEstimate) {
  RecentChecks checks;
  checks.Put("a", EstimateOf(1));
  const auto found = checks.Find("a");
  // On a machine so busy that a tenth of a second went by, nothing is found: right as well.
  if (found.has_value()) {
    EXPECT_EQ(found->artifact_bytes(), 1);
  }
  EXPECT_FALSE(checks.Find("b").has_value());
}

TEST(RecentChecksTest, ForgetsSoon) {
  RecentChecks checks;
  checks.Put("a", EstimateOf(1));
  std::this_thread::sleep_for(kCheckHolds);
  EXPECT_FALSE(checks.Find("a").has_value());
}

TEST(RecentChecksTest, LaterEstimateReplacesTheFormer) {
  RecentChecks checks;
  checks.Put("a", EstimateOf(1));
  checks.Put("a", EstimateOf(2));
  const auto found = checks.Find("a");
  if (found.has_value()) {
    EXPECT_EQ(found->artifact_bytes(), 2);
  }
}

}  // namespace
}  // namespace quantd
