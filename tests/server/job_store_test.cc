// What every job store does, whatever the engine behind it.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/fail_point.h"
#include "server/store/job_rows.h"
#include "tests/server/job_store_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::QuantJob;

TEST_P(JobStoreTest, JobsSurviveReopeningUnchanged) {
  NewJob job = Job("a");
  (*job.spec.mutable_labels())["team"] = "x";
  (*job.spec.mutable_recipe()->mutable_overrides()->mutable_fields())["bits"].set_number_value(3);
  const JobRecord before = Submitted(job);
  Reopen();
  ASSERT_OK_AND_ASSIGN(const JobRecord after, store_->Get("a"));
  EXPECT_EQ(after.job.SerializeAsString(), before.job.SerializeAsString());
  EXPECT_EQ(after.job.name(), "tenants/default/jobs/a");
}

TEST_P(JobStoreTest, SameRequestIdGivesTheSameJobAlsoAfterReopening) {
  Submitted(Job("a", "gptq", "r1"));
  Reopen();
  ASSERT_OK_AND_ASSIGN(const SubmitResult again, store_->Submit(Job("b", "gptq", "r1"), {}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.record.id, "a");
}

TEST_P(JobStoreTest, SameRequestIdWithAnotherSpecNamesTheField) {
  Submitted(Job("a", "gptq", "r1"));
  const auto again = store_->Submit(Job("b", "rtn", "r1"), {});
  EXPECT_THAT(again, FailsWith("REQUEST_ID_REUSED", "spec.recipe"));
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(FieldOf(again.status()), "spec.recipe");
}

TEST_P(JobStoreTest, ManyThreadsWithOneRequestIdMakeOneJob) {
  std::vector<std::thread> threads;
  std::atomic<int> created{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const auto result = store_->Submit(Job(absl::StrCat("j", i), "gptq", "same"), {});
      if (result.ok() && !result->duplicate) ++created;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(created, 1);
  ASSERT_OK_AND_ASSIGN(const auto counts, store_->CountByState());
  EXPECT_EQ(counts.at(QuantJob::QUEUED), 1);
}

TEST_P(JobStoreTest, QueueLimitRefusesNewJobsButAnswersDuplicates) {
  Submitted(Job("a", "gptq", "r1"));
  EXPECT_THAT(store_->Submit(Job("b"), {.max_queued = 1}), FailsWith("QUOTA_QUEUED_JOBS", "limit is 1"));
  ASSERT_OK_AND_ASSIGN(const SubmitResult again, store_->Submit(Job("c", "gptq", "r1"), {.max_queued = 1}));
  EXPECT_TRUE(again.duplicate);
}

TEST_P(JobStoreTest, ClaimsOldestFirstForTheDevicesOfTheWorker) {
  NewJob cuda = Job("gpu");
  cuda.spec.set_device("cuda");
  Submitted(cuda);
  Submitted(Job("first"));
  Submitted(Job("second"));
  EXPECT_EQ(Claimed()->id, "first");
  EXPECT_EQ(Claimed()->id, "second");
  EXPECT_FALSE(Claimed().has_value());
  EXPECT_EQ(Claimed({"cpu", "cuda"})->id, "gpu");
}

TEST_P(JobStoreTest, ClaimWaitsForRunAfter) {
  Submitted(Job("a"));
  Claimed();
  const absl::Time later = Now() + absl::Hours(1);
  ASSERT_OK(store_->Update(DurableStep::kRequeue, "a", RequeueUntil(later)));
  EXPECT_FALSE(Claimed().has_value());
  const auto again = Claimed({.devices = {"cpu"}, .now = later});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->fence, 2);
}

TEST_P(JobStoreTest, IllegalTransitionsAndRefusalsWriteNothing) {
  Submitted(Job("a"));
  const auto illegal = store_->Update(DurableStep::kRenew, "a", [](JobRecord& record) {
    record.job.set_state(QuantJob::SUCCEEDED);
    return absl::OkStatus();
  });
  EXPECT_THAT(illegal, FailsWith("ILLEGAL_TRANSITION", "QUEUED to SUCCEEDED"));
  EXPECT_THAT(store_->Update(DurableStep::kRenew, "a",
                             [](JobRecord&) { return ReasonError(absl::StatusCode::kAborted, "NO", "no"); }),
              FailsWith("NO", "no"));
  ASSERT_OK_AND_ASSIGN(const JobRecord record, store_->Get("a"));
  EXPECT_EQ(record.job.state(), QuantJob::QUEUED);
  EXPECT_EQ(record.job.revision(), 1);
  EXPECT_TRUE(store_->writable());
}

TEST_P(JobStoreTest, TerminalJobsNeverChange) {
  Submitted(Job("a"));
  ASSERT_OK(store_->Update(DurableStep::kRenew, "a", &EndCancelled));
  EXPECT_THAT(store_->Update(DurableStep::kRenew, "a", &StartForTest),
              FailsWith("ILLEGAL_TRANSITION", "CANCELLED to RUNNING"));
}

TEST_P(JobStoreTest, ChangesAreReplayedFromAnyRevision) {
  Submitted(Job("a"));
  Submitted(Job("other"));
  Claimed();
  for (const char* phase : {"calibrate", "quantize"}) {
    ASSERT_OK(store_->Update(DurableStep::kRenew, "a", [&](JobRecord& record) {
      record.job.mutable_progress()->set_phase(phase);
      return absl::OkStatus();
    }));
  }
  ASSERT_OK(store_->Update(DurableStep::kRenew, "a", [](JobRecord& record) {
    record.job.mutable_progress()->set_fraction(0.5);
    return absl::OkStatus();
  }));
  ASSERT_OK_AND_ASSIGN(const auto all, store_->ChangesAfter("a", 0));
  ASSERT_EQ(all.size(), 5);
  EXPECT_EQ(all[0].state(), QuantJob::QUEUED);
  EXPECT_EQ(all[1].state(), QuantJob::RUNNING);
  EXPECT_EQ(all[2].progress().phase(), "calibrate");
  EXPECT_EQ(all[4].progress().fraction(), 0.5) << "the newest progress, though it is no event";
  EXPECT_EQ(all[0].spec().model(), "m");
  ASSERT_OK_AND_ASSIGN(const auto rest, store_->ChangesAfter("a", all[3].revision()));
  ASSERT_EQ(rest.size(), 1);
  ASSERT_OK_AND_ASSIGN(const auto none, store_->ChangesAfter("a", all[4].revision()));
  EXPECT_TRUE(none.empty());
  ASSERT_OK_AND_ASSIGN(const int64_t last, store_->LastRevision());
  EXPECT_EQ(last, all[4].revision());
}

TEST_P(JobStoreTest, ListsNewestFirstWithEveryRestriction) {
  for (int i = 0; i < 6; ++i) Submitted(Job(absl::StrCat("j", i), i % 2 == 0 ? "gptq" : "rtn"));
  ASSERT_OK(store_->Update(DurableStep::kRenew, "j4", &EndCancelled));
  ASSERT_OK_AND_ASSIGN(const auto queued, store_->List({.states = {QuantJob::QUEUED}, .presets = {"gptq"}}));
  ASSERT_EQ(queued.size(), 2);
  EXPECT_EQ(queued[0].id, "j2");
  EXPECT_EQ(queued[1].id, "j0");
  ASSERT_OK_AND_ASSIGN(const auto page, store_->List({.before_sequence = queued[0].sequence, .limit = 1}));
  ASSERT_EQ(page.size(), 1);
  EXPECT_EQ(page[0].id, "j1");
  ASSERT_OK_AND_ASSIGN(const auto none, store_->List({.models = {"other"}}));
  EXPECT_TRUE(none.empty());
}

TEST_P(JobStoreTest, ReportsAreStoredWithTheTransition) {
  Submitted(Job("a"));
  Claimed();
  v1::QuantReport report;
  report.mutable_size()->set_original_bytes(7);
  ASSERT_OK(store_->UpdateWithReport(DurableStep::kPublish, "a", report, [](JobRecord& record) {
    record.job.set_state(QuantJob::SUCCEEDED);
    record.job.mutable_artifact()->set_digest("d");
    record.lease_deadline = absl::InfinitePast();
    SetTimestamp(absl::FromUnixSeconds(1'900'000'000), record.job.mutable_end_time());
    return absl::OkStatus();
  }));
  ASSERT_OK_AND_ASSIGN(const auto stored, store_->Report("a"));
  ASSERT_TRUE(stored.has_value());
  EXPECT_EQ(stored->size().original_bytes(), 7);
}

TEST_P(JobStoreTest, UnknownJobsAreNotFound) {
  EXPECT_THAT(store_->Get("nope"), FailsWith("JOB_NOT_FOUND", "'nope'"));
  EXPECT_THAT(store_->ChangesAfter("nope", 0), FailsWith("JOB_NOT_FOUND", "nope"));
  ASSERT_OK_AND_ASSIGN(const auto report, store_->Report("nope"));
  EXPECT_FALSE(report.has_value());
}

// Arms fail points for as long as it lives.
class FailPoints {
 public:
  explicit FailPoints(absl::string_view text) { EXPECT_OK(SetFailPoints(text)); }
  ~FailPoints() { EXPECT_OK(SetFailPoints("")); }
};

TEST_P(JobStoreTest, SubmitWhoseAnswerIsLostGivesOneJobWhenRepeated) {
  {
    const FailPoints armed("submit.commit.after=error");
    EXPECT_THAT(store_->Submit(Job("a", "gptq", "r1"), {}), FailsWith("FAIL_POINT", "submit.commit"));
  }
  Reopen();
  ASSERT_OK_AND_ASSIGN(const SubmitResult again, store_->Submit(Job("b", "gptq", "r1"), {}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.record.id, "a");
  ASSERT_OK_AND_ASSIGN(const auto counts, store_->CountByState());
  EXPECT_EQ(counts.at(QuantJob::QUEUED), 1);
}

TEST_P(JobStoreTest, StepThatFailsBeforeItsCommitHasDoneNothing) {
  Submitted(Job("a"));
  {
    const FailPoints armed("submit.commit.before=error;claim.commit.before=error");
    EXPECT_FALSE(store_->Submit(Job("b", "gptq", "r1"), {}).ok());
    EXPECT_FALSE(store_->Claim({.devices = {"cpu"}, .now = Now()}, &StartForTest).ok());
  }
  EXPECT_EQ(Get("a").job.state(), QuantJob::QUEUED);
  EXPECT_THAT(store_->Get("b"), FailsWith("JOB_NOT_FOUND", "b"));
  EXPECT_TRUE(store_->writable());
  EXPECT_EQ(Claimed()->id, "a");
}

TEST_P(JobStoreTest, ClaimWhoseAnswerIsLostIsALease) {
  Submitted(Job("a"));
  {
    const FailPoints armed("claim.commit.after=error");
    EXPECT_FALSE(store_->Claim({.devices = {"cpu"}, .now = Now()}, &StartForTest).ok());
  }
  EXPECT_FALSE(Claimed().has_value());
  ASSERT_OK_AND_ASSIGN(const auto leased, store_->Leased("w"));
  ASSERT_EQ(leased.size(), 1) << "the scheduler repeats the assignment, or the lease expires";
  EXPECT_EQ(leased[0].fence, 1);
}

QUANTD_EVERY_ENGINE(JobStoreTest);

}  // namespace
}  // namespace quantd
