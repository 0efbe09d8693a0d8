// Who may submit: rates and quotas of tenants, and what a refusal says.
#include "server/scheduler/admission.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/errors/quota_error.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::FinishedJob;

class AdmissionTest : public SchedulerTest {
 protected:
  void SetTenants(const std::string& json) {
    auto table = TenantTable::Parse(json, "tenants");
    ASSERT_OK(table);
    scheduler_->SetTenants(*std::move(table));
  }
  // Counts that Admit compares with are younger after that.
  void PassCounts() { clock_.Advance(Admission::kCountsAge); }
  absl::Status SubmitAs(const std::string& tenant, const std::string& id) {
    NewJob job = NewJobOf(id);
    job.tenant = tenant;
    return scheduler_->Submit(job).status();
  }
};

void ExpectQuota(const absl::Status& status, const std::string& reason, const std::string& subject) {
  EXPECT_THAT(status, FailsWith(reason, ""));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(QuotaSubjectOf(status), subject);
  EXPECT_GT(RetryAfterOf(status), absl::ZeroDuration());
}

TEST_F(AdmissionTest, QueuedJobsOfATenantAreLimited) {
  SetTenants(R"({"a": {"max_queued": 2}})");
  ASSERT_OK(SubmitAs("a", "a1"));
  ASSERT_OK(SubmitAs("a", "a2"));
  ExpectQuota(SubmitAs("a", "a3"), "QUOTA_QUEUED_JOBS", "tenants/a");
  PassCounts();
  ExpectQuota(scheduler_->Admit("a"), "QUOTA_QUEUED_JOBS", "tenants/a");
  EXPECT_OK(scheduler_->Admit("b"));
  EXPECT_OK(SubmitAs("b", "b1")) << "others are not touched";
  ASSERT_EQ(Assigned(Request("w")).size(), 2u);
  PassCounts();
  EXPECT_OK(scheduler_->Admit("a")) << "running jobs do not count";
}

TEST_F(AdmissionTest, StoredBytesOfATenantAreLimited) {
  SetTenants(R"({"a": {"max_stored_bytes": 5}})");
  ASSERT_OK(SubmitAs("a", "a1"));
  Assigned(Request("w"));
  Finish("w", Uploaded("a1", 1, "more than five bytes"));
  PassCounts();
  ExpectQuota(scheduler_->Admit("a"), "QUOTA_STORED_BYTES", "tenants/a");
  ExpectQuota(SubmitAs("a", "a2"), "QUOTA_STORED_BYTES", "tenants/a");
  EXPECT_OK(SubmitAs("b", "b1"));
}

TEST_F(AdmissionTest, SubmitRateIsLimitedAndSaysWhenToComeBack) {
  SetTenants(R"({"a": {"submits_per_second": 2, "burst": 3}})");
  for (int i = 0; i < 3; ++i) EXPECT_OK(scheduler_->Admit("a"));
  const absl::Status refused = scheduler_->Admit("a");
  ExpectQuota(refused, "SUBMIT_RATE", "tenants/a");
  EXPECT_EQ(RetryAfterOf(refused), absl::Milliseconds(500));
  clock_.Advance(RetryAfterOf(refused));
  EXPECT_OK(scheduler_->Admit("a"));
  for (int i = 0; i < 100; ++i) EXPECT_OK(scheduler_->Admit("b"));
}

TEST_F(AdmissionTest, NewLimitsHoldAtOnce) {
  EXPECT_OK(SubmitAs("a", "a1"));
  SetTenants(R"({"*": {"max_queued": 1}})");
  ExpectQuota(SubmitAs("a", "a2"), "QUOTA_QUEUED_JOBS", "tenants/a");
  SetTenants("{}");
  EXPECT_OK(SubmitAs("a", "a2"));
}

// 10,000 refusals a second must cost next to nothing, and nothing that stays.
TEST_F(AdmissionTest, RefusingIsCheap) {
  SetTenants(R"({"*": {"submits_per_second": 1}})");
  EXPECT_OK(scheduler_->Admit("a"));
  const absl::Time begin = RealClock().Now();
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(ReasonOf(scheduler_->Admit("a")), "SUBMIT_RATE");
  EXPECT_LT(RealClock().Now() - begin, absl::Seconds(1));
}

}  // namespace
}  // namespace quantd
