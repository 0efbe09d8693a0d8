// Leases that nobody looks at never end: a daemon whose sweep is silent or fails says so and is not ready.
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "core/base/fail_point.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/http_get.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

class SweepWatchdogTest : public DaemonTest {
 protected:
  void TearDown() override { EXPECT_OK(SetFailPoints("")); }
  HttpAnswer Ready() { return HttpCall(daemon_->http_address(), "GET /readyz"); }
  // Until readiness is answered so.
  void AwaitReady(int code) {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (Ready().code != code && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(Ready().code, code);
  }
};

TEST_F(SweepWatchdogTest, ASweepThatDoesNotComeMakesTheServerUnready) {
  config_.sweep_ms = 60'000;  // none while this test runs
  Start();
  EXPECT_EQ(Ready().code, 200);
  clock_.Advance(10 * absl::Minutes(1));
  EXPECT_EQ(Ready().code, 200) << "ten periods are allowed";
  clock_.Advance(absl::Seconds(1));
  const HttpAnswer stalled = Ready();
  EXPECT_EQ(stalled.code, 503);
  EXPECT_THAT(stalled.body, testing::HasSubstr("SWEEP_STALLED"));
  EXPECT_EQ(HttpCall(daemon_->http_address(), "GET /livez").code, 200) << "restarting it would help nobody else";
}

TEST_F(SweepWatchdogTest, ASweepThatFailsIsNone) {
  const std::string name = Submitted();
  TakeJob();
  ASSERT_OK(SetFailPoints("requeue.commit.before=error"));
  clock_.Advance(absl::Minutes(1));  // the lease is over, and taking it back fails
  AwaitReady(503);
  EXPECT_THAT(Ready().body, testing::HasSubstr("SWEEP_STALLED"));
  EXPECT_EQ(Get(name)->state(), v1::QuantJob::RUNNING);

  ASSERT_OK(SetFailPoints(""));
  AwaitReady(200);
  EXPECT_EQ(Get(name)->state(), v1::QuantJob::QUEUED);
  const auto all = ParseMetrics(HttpCall(daemon_->http_address(), "GET /metrics").body);
  EXPECT_EQ(all.at("quantd_sweep_last_success_timestamp_seconds"),
            absl::ToDoubleSeconds(clock_.Now() - absl::UnixEpoch()));
}

}  // namespace
}  // namespace quantd
