// Limits, counts, files, deletion, purge, the audit log, and what is dropped when it is old.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/store/job_rows.h"
#include "tests/server/job_store_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using v1::QuantJob;

class JobStoreRetentionTest : public JobStoreTest {
 protected:
  std::vector<std::string> Unreferenced(const std::vector<std::string>& sha256s) {
    auto result = store_->UnreferencedFiles(sha256s);
    EXPECT_OK(result);
    return result.ok() ? *result : std::vector<std::string>();
  }
  // "actor action" of each row, newest first.
  std::vector<std::string> Audit(const AuditQuery& query) {
    std::vector<std::string> notes;
    const auto rows = store_->Audit(query);
    EXPECT_OK(rows);
    if (!rows.ok()) return notes;
    for (const AuditRow& row : *rows) notes.push_back(absl::StrCat(row.job, " ", row.note.action));
    return notes;
  }
  absl::Status SetCheckpoint(absl::string_view id, int block, const std::string& sha256) {
    const auto set = [&](JobRecord& record) {
      record.checkpoint.emplace();
      record.checkpoint->mutable_summary()->set_block(block);
      record.checkpoint->add_files()->set_sha256(sha256);
      return absl::OkStatus();
    };
    return store_->Update(DurableStep::kCheckpointRecord, id, set).status();
  }
};

TEST_P(JobStoreRetentionTest, LimitsAreThoseOfAllAndOfTheTenant) {
  Submitted(JobOf("a", "a1"));
  Submitted(JobOf("b", "b1"));
  EXPECT_THAT(store_->Submit(JobOf("a", "a2"), {.max_queued = 2}), FailsWith("QUOTA_QUEUED_JOBS", "limit is 2"));
  EXPECT_THAT(store_->Submit(JobOf("a", "a2"), {.tenant_max_queued = 1}), FailsWith("QUOTA_QUEUED_JOBS", "tenant a"));
  EXPECT_OK(store_->Submit(JobOf("a", "a2"), {.max_queued = 3, .tenant_max_queued = 2}));
  Succeeded("a1", "f1", 1000);
  EXPECT_THAT(store_->Submit(JobOf("a", "a3"), {.tenant_max_stored_bytes = 1000}),
              FailsWith("QUOTA_STORED_BYTES", "1000 bytes"));
  EXPECT_OK(store_->Submit(JobOf("b", "b2"), {.tenant_max_stored_bytes = 1000}));
}

TEST_P(JobStoreRetentionTest, CountsFollowEveryTransition) {
  for (const char* id : {"a1", "a2", "a3"}) Submitted(JobOf("a", id));
  ASSERT_OK(store_->Update(DurableStep::kClaim, "a2", &StartForTest));
  Succeeded("a3", "f", 50);
  ASSERT_OK_AND_ASSIGN(auto counts, store_->CountByTenant());
  EXPECT_EQ(counts["a"].queued, 1);
  EXPECT_EQ(counts["a"].running, 1);
  EXPECT_EQ(counts["a"].stored_bytes, 50);
  ASSERT_OK(store_->Update(DurableStep::kExpire, "a3", [](JobRecord& record) {
    record.job.mutable_artifact()->set_expired(true);
    return absl::OkStatus();
  }));
  Delete("a3", Now());
  ASSERT_OK_AND_ASSIGN(counts, store_->CountByTenant());
  EXPECT_EQ(counts["a"].stored_bytes, 0);
  ASSERT_OK_AND_ASSIGN(auto states, store_->CountByState());
  EXPECT_EQ(states[QuantJob::SUCCEEDED], 1) << "until it is purged";
  ASSERT_OK(store_->Purge("a3", {"retention", "purge", ""}));
  ASSERT_OK_AND_ASSIGN(states, store_->CountByState());
  EXPECT_EQ(states[QuantJob::SUCCEEDED], 0);
}

TEST_P(JobStoreRetentionTest, QueueSummaryKnowsDevicesAndTheOldest) {
  ASSERT_OK_AND_ASSIGN(const QueueSummary empty, store_->SummarizeQueue());
  EXPECT_EQ(empty.oldest_create_time, absl::InfiniteFuture());
  NewJob first = JobOf("a", "a1");
  first.create_time = absl::FromUnixSeconds(1'600'000'000);
  Submitted(first);
  NewJob second = JobOf("b", "b1");
  second.spec.set_device("cuda");
  Submitted(second);
  ASSERT_OK_AND_ASSIGN(const QueueSummary summary, store_->SummarizeQueue());
  EXPECT_EQ(summary.oldest_create_time, first.create_time);
  EXPECT_EQ(summary.waiting_by_device, (std::map<std::string, int64_t>{{"auto", 1}, {"cuda", 1}}));
}

TEST_P(JobStoreRetentionTest, TenantsSeeTheirOwnJobsAndRequestIds) {
  NewJob a = JobOf("a", "a1");
  a.request_id = "same";
  Submitted(a);
  NewJob b = JobOf("b", "b1");
  b.request_id = "same";
  EXPECT_EQ(Submitted(b).id, "b1") << "request ids of tenants are apart";
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->List({.tenant = "a"}));
  ASSERT_EQ(jobs.size(), 1);
  EXPECT_EQ(jobs[0].job.name(), "tenants/a/jobs/a1");
}

TEST_P(JobStoreRetentionTest, DeletedJobsAreHiddenUntilUndeleted) {
  Submitted(Job("a"));
  Succeeded("a", "f");
  Delete("a", Now() + absl::Hours(1));
  ASSERT_OK_AND_ASSIGN(const auto hidden, store_->List({}));
  EXPECT_THAT(hidden, IsEmpty());
  ASSERT_OK_AND_ASSIGN(const auto shown, store_->List({.show_deleted = true}));
  EXPECT_EQ(shown.size(), 1);
  EXPECT_TRUE(Get("a").job.has_delete_time());
  ASSERT_OK(store_->Update(DurableStep::kUndelete, "a", [](JobRecord& record) {
    record.job.clear_delete_time();
    record.job.clear_purge_time();
    return absl::OkStatus();
  }));
  ASSERT_OK_AND_ASSIGN(const auto again, store_->List({}));
  EXPECT_EQ(again.size(), 1);
}

TEST_P(JobStoreRetentionTest, ResultsOfTerminalJobsCannotChange) {
  Submitted(Job("a"));
  Succeeded("a", "f");
  const auto change = [&](void (*edit)(QuantJob&)) {
    return store_->Update(DurableStep::kExpire, "a", [&](JobRecord& record) {
      edit(record.job);
      return absl::OkStatus();
    });
  };
  EXPECT_THAT(change([](QuantJob& job) { job.mutable_artifact()->set_digest("other"); }),
              FailsWith("ILLEGAL_TRANSITION", "its result cannot change"));
  EXPECT_THAT(change([](QuantJob& job) { job.set_worker("other"); }), FailsWith("ILLEGAL_TRANSITION", "cannot change"));
  EXPECT_OK(change([](QuantJob& job) { job.mutable_artifact()->mutable_expire_time()->set_seconds(5); }));
}

TEST_P(JobStoreRetentionTest, CheckpointsAreKeptUntilTheJobEnds) {
  Submitted(Job("a"));
  ASSERT_OK(store_->Update(DurableStep::kClaim, "a", &StartForTest));
  ASSERT_OK(SetCheckpoint("a", 1, "c1"));
  ASSERT_OK(SetCheckpoint("a", 2, "c2"));
  Reopen();
  EXPECT_EQ(Get("a").job.checkpoint().block(), 2);
  EXPECT_EQ(Get("a").checkpoint->files(0).sha256(), "c2");
  EXPECT_THAT(Unreferenced({"c1", "c2"}), ElementsAre("c1"));
  ASSERT_OK(store_->Update(DurableStep::kRequeue, "a", RequeueUntil(Now())));
  EXPECT_EQ(Get("a").job.checkpoint().block(), 2) << "for the next attempt";
  Succeeded("a", "f");
  EXPECT_FALSE(Get("a").job.has_checkpoint());
  EXPECT_FALSE(Get("a").checkpoint.has_value());
  EXPECT_THAT(Unreferenced({"c2", "f"}), ElementsAre("c2"));
}

TEST_P(JobStoreRetentionTest, FilesOfSeveralJobsAreReferencedUntilTheLastOneGoes) {
  for (const char* id : {"a", "b"}) {
    Submitted(Job(id));
    Succeeded(id, "shared");
  }
  ASSERT_OK_AND_ASSIGN(const auto all, store_->AllReferencedFiles());
  EXPECT_EQ(all.size(), 2);
  Delete("a", Now());
  EXPECT_THAT(Unreferenced({"shared", "unknown"}), ElementsAre("unknown"));
  ASSERT_OK(store_->Purge("a", {"retention", "purge", ""}));
  EXPECT_THAT(Unreferenced({"shared"}), IsEmpty());
  Delete("b", Now());
  ASSERT_OK(store_->Purge("b", {"retention", "purge", ""}));
  EXPECT_THAT(Unreferenced({"shared"}), ElementsAre("shared"));
}

TEST_P(JobStoreRetentionTest, RetirableAreThoseBeyondAgeOrCount) {
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  for (int i = 0; i < 4; ++i) {
    const std::string id = absl::StrCat("j", i);
    Submitted(Job(id));
    ASSERT_OK(store_->Update(DurableStep::kCancel, id, [&](JobRecord& record) {
      RETURN_IF_ERROR(EndCancelled(record));
      SetTimestamp(start + absl::Hours(i), record.job.mutable_end_time());
      return absl::OkStatus();
    }));
  }
  Submitted(Job("waiting"));
  const auto retirable = [&](absl::Time before, int64_t keep) {
    const auto ids = store_->Retirable({.finished_before = before, .keep_newest_per_tenant = keep});
    EXPECT_OK(ids);
    return ids.ok() ? *ids : std::vector<std::string>();
  };
  EXPECT_THAT(retirable(absl::InfinitePast(), 0), IsEmpty());
  EXPECT_THAT(retirable(start + absl::Hours(1), 0), ElementsAre("j0"));
  EXPECT_THAT(retirable(absl::InfinitePast(), 2), ElementsAre("j0", "j1"));
  EXPECT_THAT(retirable(start + absl::Hours(3), 2), ElementsAre("j0", "j1", "j2"));
  EXPECT_THAT(retirable(absl::InfinitePast(), 9), IsEmpty());
  Delete("j0", Now());
  EXPECT_THAT(retirable(absl::InfinitePast(), 2), ElementsAre("j1")) << "deleted ones are on their way already";
}

TEST_P(JobStoreRetentionTest, ArtifactsExpireOnce) {
  Submitted(Job("a"));
  Succeeded("a", "f");
  const auto update = [&](void (*edit)(v1::Artifact&)) {
    EXPECT_OK(store_->Update(DurableStep::kExpire, "a", [&](JobRecord& record) {
      edit(*record.job.mutable_artifact());
      return absl::OkStatus();
    }));
  };
  const absl::Time due = absl::FromUnixSeconds(5000);
  update([](v1::Artifact& artifact) { artifact.mutable_expire_time()->set_seconds(5000); });
  ASSERT_OK_AND_ASSIGN(auto ids, store_->ArtifactsToExpire(due - absl::Seconds(1), 10));
  EXPECT_THAT(ids, IsEmpty());
  ASSERT_OK_AND_ASSIGN(ids, store_->ArtifactsToExpire(due, 10));
  EXPECT_THAT(ids, ElementsAre("a"));
  update([](v1::Artifact& artifact) { artifact.set_expired(true); });
  ASSERT_OK_AND_ASSIGN(ids, store_->ArtifactsToExpire(due, 10));
  EXPECT_THAT(ids, IsEmpty());
  EXPECT_THAT(Unreferenced({"f"}), ElementsAre("f"));
}

TEST_P(JobStoreRetentionTest, PurgeWaitsForTheRequestIdAndLeavesOnlyTheAuditLog) {
  NewJob young = Job("young", "gptq", "r1");
  NewJob old = Job("old", "gptq", "r2");
  old.create_time = Now() - kRequestIdLife - absl::Hours(1);
  for (const NewJob& job : {young, old}) {
    Submitted(job);
    EXPECT_THAT(store_->Purge(job.id, {}), FailsWith("JOB_NOT_DELETED", "delete it first"));
    Succeeded(job.id, "f");
    Delete(job.id, Now() - absl::Hours(1));
  }
  ASSERT_OK_AND_ASSIGN(const auto purgeable, store_->Purgeable(Now(), 10));
  ASSERT_EQ(purgeable.size(), 1);
  EXPECT_EQ(purgeable[0].id, "old");
  ASSERT_OK(store_->Purge("old", {"retention", "purge", "30 days old"}));
  EXPECT_THAT(store_->Get("old"), FailsWith("JOB_NOT_FOUND", "old"));
  EXPECT_THAT(Audit({.limit = 2}), ElementsAre("old purge", "old delete"));
  EXPECT_EQ(Submitted(Job("new", "gptq", "r2")).id, "new") << "the id is free again";
}

TEST_P(JobStoreRetentionTest, AuditLogHasTheRowsOfCommittedChangesOnly) {
  Submitted(Job("a"));
  Submitted(Job("b"));
  Submitted(JobOf("other", "c"));
  const auto noted = [](absl::Status status) {
    return [status](JobRecord& record) {
      record.audit = {"client:x", "cancel", "by hand"};
      return status.ok() ? EndCancelled(record) : status;
    };
  };
  EXPECT_FALSE(store_->Update(DurableStep::kCancel, "a", noted(absl::AbortedError("no"))).ok());
  ASSERT_OK(store_->Update(DurableStep::kCancel, "a", noted(absl::OkStatus())));
  EXPECT_THAT(Audit({}), ElementsAre("a cancel", "b submit", "a submit"));
  EXPECT_THAT(Audit({.job = "a"}), ElementsAre("a cancel", "a submit"));
  ASSERT_OK_AND_ASSIGN(const auto rows, store_->Audit({.limit = 1}));
  EXPECT_EQ(rows[0].note.actor, "client:x");
  EXPECT_EQ(rows[0].note.detail, "by hand");
  EXPECT_THAT(Audit({.before_sequence = rows[0].sequence}), ElementsAre("b submit", "a submit"));
}

TEST_P(JobStoreRetentionTest, WatchersOfDroppedEventsAreTold) {
  Submitted(Job("a"));
  ASSERT_OK(store_->Update(DurableStep::kClaim, "a", &StartForTest));
  ASSERT_OK_AND_ASSIGN(const auto all, store_->ChangesAfter("a", 0));
  ASSERT_EQ(all.size(), 2);
  ASSERT_OK_AND_ASSIGN(const int64_t none, store_->DropOldEvents(Now() - absl::Hours(1), 10));
  EXPECT_EQ(none, 0);
  ASSERT_OK_AND_ASSIGN(const int64_t dropped, store_->DropOldEvents(Now() + absl::Hours(1), 10));
  EXPECT_EQ(dropped, 2);
  const auto compacted = store_->ChangesAfter("a", all[0].revision());
  EXPECT_THAT(compacted, FailsWith("REVISION_COMPACTED", "begin again"));
  EXPECT_EQ(compacted.status().code(), absl::StatusCode::kOutOfRange);
  ASSERT_OK_AND_ASSIGN(const auto now, store_->ChangesAfter("a", 0));
  ASSERT_EQ(now.size(), 1) << "the job as it is";
  EXPECT_OK(store_->ChangesAfter("a", all[1].revision())) << "who has seen the last one has missed nothing";
}

TEST_P(JobStoreRetentionTest, YoungRequestIdsAreNeverDropped) {
  Submitted(Job("young", "gptq", "r1"));
  NewJob old = Job("old", "gptq", "r2");
  old.create_time = Now() - kRequestIdLife - absl::Hours(1);
  Submitted(old);
  ASSERT_OK_AND_ASSIGN(const int64_t dropped, store_->DropOldRequests(Now() + absl::Hours(1000), 10));
  EXPECT_EQ(dropped, 1);
  ASSERT_OK_AND_ASSIGN(const auto young, store_->FindRequest("default", "r1", Job("x").spec));
  EXPECT_TRUE(young.has_value());
  ASSERT_OK_AND_ASSIGN(const auto gone, store_->FindRequest("default", "r2", Job("x").spec));
  EXPECT_FALSE(gone.has_value());
}

QUANTD_EVERY_ENGINE(JobStoreRetentionTest);

TEST_P(JobStoreRetentionTest, OldAuditRowsAreDroppedInBatchesButForTheNewest) {
  for (const char* id : {"a", "b", "c"}) Submitted(Job(id));
  const absl::Time now = store_->Now();
  const auto drop = [&](absl::Time before, int limit) { return store_->DropOldAudit(before, limit).value_or(-1); };
  EXPECT_EQ(drop(now, 10), 0) << "none is older";
  EXPECT_EQ(drop(now + absl::Seconds(1), 1), 1);
  EXPECT_THAT(Audit({}), ElementsAre("c submit", "b submit"));
  EXPECT_EQ(drop(now + absl::Seconds(1), 10), 1);
  EXPECT_THAT(Audit({}), ElementsAre("c submit")) << "its number must not be given again";
  Submitted(Job("d"));
  EXPECT_THAT(Audit({}), ElementsAre("d submit", "c submit"));
  EXPECT_THAT(Audit({.all_tenants = true, .limit = 1}), ElementsAre("d submit"));
}

}  // namespace
}  // namespace quantd
