// Whose turn it is: tenants, priorities, and what fits a worker.
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/server/job_store_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

class JobStoreClaimTest : public JobStoreTest {
 protected:
  ClaimQuery Query() { return {.devices = {"cpu"}, .now = Now()}; }
  void SubmitMany(const std::string& tenant, int count) {
    for (int i = 0; i < count; ++i) Submitted(JobOf(tenant, absl::StrCat(tenant, "-", i)));
  }
};

int64_t CountOf(const std::string& order, const std::string& tenant) {
  const std::vector<std::string> ids = absl::StrSplit(order, ' ');
  return std::count_if(ids.begin(), ids.end(), [&](const std::string& id) { return id.rfind(tenant + "-", 0) == 0; });
}

TEST_P(JobStoreClaimTest, HigherPriorityGoesFirstAndWaitingIsWorthOne) {
  const absl::Time now = Now();
  const auto submit = [&](const char* id, int priority, absl::Duration age) {
    NewJob job = Job(id);
    job.spec.set_priority(priority);
    job.create_time = now - age;
    job.ageing = absl::Minutes(1);
    Submitted(job);
  };
  submit("plain", 0, absl::ZeroDuration());
  submit("high", 5, absl::ZeroDuration());
  submit("low", -5, absl::ZeroDuration());
  submit("waited", 0, absl::Minutes(6));
  submit("low-waited", -5, absl::Minutes(9));
  EXPECT_EQ(ClaimAll(Query()), "waited high low-waited plain low");
}

TEST_P(JobStoreClaimTest, TenantWithOneJobIsServedInItsTurn) {
  SubmitMany("big", 20);
  for (int i = 0; i < 5; ++i) Claimed(Query());
  Submitted(JobOf("small", "small-0"));
  const std::string order = ClaimAll(Query());
  EXPECT_LE(order.find("small-0"), std::string("big-00 ").size()) << order;
}

TEST_P(JobStoreClaimTest, SharesFollowTheWeights) {
  SubmitMany("a", 40);
  SubmitMany("b", 40);
  ClaimQuery query = Query();
  query.policy = [](absl::string_view tenant) { return TenantPolicy{.weight = tenant == "a" ? 3.0 : 1.0}; };
  std::string order;
  for (int i = 0; i < 40; ++i) absl::StrAppend(&order, i > 0 ? " " : "", Claimed(query)->id);
  EXPECT_NEAR(CountOf(order, "a"), 30, 1) << order;
}

TEST_P(JobStoreClaimTest, IdlingSavesNothingUp) {
  SubmitMany("busy", 30);
  Submitted(JobOf("idle", "idle-first"));
  for (int i = 0; i < 20; ++i) Claimed(Query());  // idle-first is among them
  SubmitMany("idle", 5);
  std::string order;
  for (int i = 0; i < 6; ++i) absl::StrAppend(&order, i > 0 ? " " : "", Claimed(Query())->id);
  EXPECT_NEAR(CountOf(order, "idle"), 3, 1) << order << ": it does not catch up on the turns that it did not want";
}

TEST_P(JobStoreClaimTest, RunningLimitOfATenantIsKept) {
  SubmitMany("a", 4);
  SubmitMany("b", 1);
  ClaimQuery query = Query();
  query.policy = [](absl::string_view tenant) { return TenantPolicy{.max_running = tenant == "a" ? 2 : 0}; };
  EXPECT_EQ(CountOf(ClaimAll(query), "a"), 2);
  ASSERT_OK(store_->Update(DurableStep::kCancel, "a-0", [](JobRecord& record) {
    record.job.set_state(v1::QuantJob::CANCELLING);
    return absl::OkStatus();
  }));
  EXPECT_FALSE(Claimed(query).has_value()) << "it still has its lease";
  ASSERT_OK(store_->Update(DurableStep::kCancelConfirm, "a-0", &EndCancelled));
  EXPECT_EQ(ClaimAll(query), "a-2");
}

TEST_P(JobStoreClaimTest, JobsThatNeedMoreThanTheWorkerHasArePassedOver) {
  NewJob large = Job("large");
  large.estimate.set_peak_memory_bytes(1000);
  Submitted(large);
  NewJob wide = Job("wide");
  wide.estimate.set_disk_bytes(1000);
  Submitted(wide);
  Submitted(Job("small"));
  ClaimQuery query = Query();
  query.memory_bytes = query.disk_bytes = 999;
  EXPECT_EQ(ClaimAll(query), "small");
  query.disk_bytes = 1000;
  EXPECT_EQ(ClaimAll(query), "wide");
  query.memory_bytes = 1000;
  EXPECT_EQ(ClaimAll(query), "large");
}

TEST_P(JobStoreClaimTest, WorkerThatLostAJobIsAvoidedForAWhile) {
  Submitted(Job("a"));
  Claimed(Query());  // by "w"
  const absl::Time run_after = Now();
  ASSERT_OK(store_->Update(DurableStep::kRequeue, "a", RequeueUntil(run_after)));
  ClaimQuery query = {.devices = {"cpu"}, .avoid_worker = "w", .avoid_for = absl::Seconds(30), .now = run_after};
  EXPECT_FALSE(Claimed(query).has_value());
  query.avoid_worker = "other";
  EXPECT_TRUE(Claimed(query).has_value());
  ASSERT_OK(store_->Update(DurableStep::kRequeue, "a", RequeueUntil(run_after)));
  query.avoid_worker = "w";
  query.now = run_after + absl::Seconds(30);
  EXPECT_TRUE(Claimed(query).has_value()) << "better than nobody";
}

TEST_P(JobStoreClaimTest, RefusedClaimChargesNobody) {
  SubmitMany("a", 1);
  const auto refuse = [](JobRecord&) { return ReasonError(absl::StatusCode::kAborted, "NO", "no"); };
  EXPECT_THAT(store_->Claim(Query(), refuse), FailsWith("NO", "no"));
  SubmitMany("b", 1);
  EXPECT_EQ(ClaimAll(Query()), "a-0 b-0") << "both have had no turn yet";
}

TEST_P(JobStoreClaimTest, OverdueJobsAreFoundByEitherDeadline) {
  NewJob job = Job("queued");
  job.spec.set_queue_timeout_ms(1000);
  Submitted(job);
  Submitted(Job("running"));
  Submitted(Job("unlimited"));
  const absl::Time now = Now();
  ASSERT_OK(store_->Update(DurableStep::kClaim, "running", [&](JobRecord& record) {
    record.run_deadline = now + absl::Seconds(2);
    return StartForTest(record);
  }));
  ASSERT_OK_AND_ASSIGN(const auto none, store_->Overdue(now, 10));
  EXPECT_TRUE(none.empty());
  ASSERT_OK_AND_ASSIGN(const auto both, store_->Overdue(now + absl::Seconds(3), 10));
  ASSERT_EQ(both.size(), 2);
  EXPECT_EQ(both[0].id, "queued");
  EXPECT_EQ(both[1].id, "running");
  ASSERT_OK(store_->Update(DurableStep::kRequeue, "running", RequeueUntil(now)));
  ASSERT_OK_AND_ASSIGN(const auto one, store_->Overdue(now + absl::Seconds(3), 10));
  EXPECT_EQ(one.size(), 1) << "a run deadline ends with its attempt";
}

TEST_P(JobStoreClaimTest, ExpiredLeasesComeInPages) {
  SubmitMany("a", 3);
  ClaimAll(Query());
  ASSERT_OK_AND_ASSIGN(const auto none, store_->LeaseExpired(Lease() - absl::Seconds(1), 10));
  EXPECT_TRUE(none.empty());
  ASSERT_OK_AND_ASSIGN(const auto page, store_->LeaseExpired(Lease(), 2));
  EXPECT_EQ(page.size(), 2);
}

QUANTD_EVERY_ENGINE(JobStoreClaimTest);

}  // namespace
}  // namespace quantd
