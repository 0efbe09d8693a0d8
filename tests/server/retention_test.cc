// Forgetting: by users and by age, in an order that survives a crash at each step.
#include "server/retention/retention.h"

#include <gtest/gtest.h>

#include "core/base/fail_point.h"
#include "server/retention/marks.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using v1::FinishedJob;
using v1::QuantJob;

class RetentionTest : public SchedulerTest {
 protected:
  void TearDown() override { EXPECT_OK(SetFailPoints("")); }

  // Files may go at once: what the tests publish is seconds old.
  static RetentionOptions Eager() {
    RetentionOptions options;
    options.publish_grace = absl::ZeroDuration();
    options.orphan_age = absl::ZeroDuration();
    options.batch = 2;
    return options;
  }
  absl::StatusOr<RetentionCounts> Pass(const RetentionOptions& options) {
    return Retention(options, {*store_, *artifacts_}).Pass();
  }

  // Ends with an artifact of these weights.
  void Succeed(const std::string& id, const std::string& weights) {
    Submit(id);
    Finish("w1", Uploaded(id, Assign(id), weights));
    ASSERT_EQ(Job(id).state(), QuantJob::SUCCEEDED);
  }
  int64_t Assign(const std::string& id, const std::string& worker = "w1") {
    const v1::SynchronizeResponse answer = Answer(Request(worker));
    EXPECT_EQ(answer.assignments_size(), 1);
    EXPECT_EQ(answer.assignments(0).job(), id);
    return answer.assignments(0).fence();
  }
  void Cancelled(const std::string& id) {
    Submit(id);
    ASSERT_OK(scheduler_->Cancel(id));
  }
  void Delete(const std::string& id, absl::Duration window = absl::Hours(1)) {
    ASSERT_OK(store_->Update(DurableStep::kDeleteMark, id, [&](JobRecord& record) {
      return MarkDeleted(record, store_->Now(), window, {.actor = "client:test", .action = "delete", .detail = ""});
    }));
  }
  void ExpireSoon(const std::string& id) {
    ASSERT_OK(store_->Update(DurableStep::kExpire, id, [&](JobRecord& record) {
      record.job.mutable_artifact()->mutable_expire_time()->set_seconds(absl::ToUnixSeconds(store_->Now()));
      return absl::OkStatus();
    }));
  }

  std::vector<std::string> Stored() {
    std::vector<std::string> digests;
    const auto files = artifacts_->ListPublished("", 1000);
    EXPECT_OK(files);
    for (const PublishedFile& file : *files) digests.push_back(file.sha256);
    return digests;
  }
  static std::vector<std::string> Digests(const SmallArtifact& small) {
    std::vector<std::string> digests;
    for (const v1::ArtifactFile& file : small.artifact.files()) digests.push_back(file.sha256());
    return digests;
  }
  std::vector<std::string> Listed(bool show_deleted) {
    JobQuery query;
    query.show_deleted = show_deleted;
    const auto records = store_->List(query);
    EXPECT_OK(records);
    std::vector<std::string> ids;
    for (const JobRecord& record : *records) ids.push_back(record.id);
    return ids;
  }
  std::vector<std::string> Actions(const std::string& id) {
    AuditQuery query;
    query.job = id;
    const auto rows = store_->Audit(query);
    EXPECT_OK(rows);
    std::vector<std::string> actions;
    for (const AuditRow& row : *rows) actions.push_back(row.note.actor + " " + row.note.action);
    return actions;
  }
};

TEST_F(RetentionTest, NothingGoesByDefault) {
  Succeed("a", "weights");
  Cancelled("b");
  clock_.Advance(absl::Hours(24 * 365));
  RetentionOptions options;
  ASSERT_OK_AND_ASSIGN(const RetentionCounts counts, Pass(options));
  EXPECT_EQ(counts.deleted_jobs + counts.expired_artifacts + counts.purged_jobs + counts.removed_files, 0);
  EXPECT_THAT(Listed(false), ElementsAre("b", "a"));
}

TEST_F(RetentionTest, OldJobsAreDeletedThenPurged) {
  Cancelled("old");
  clock_.Advance(absl::Hours(3));
  Cancelled("young");
  Submit("queued");
  RetentionOptions options = Eager();
  options.retain_jobs = absl::Hours(2);
  options.undelete_window = absl::Hours(1);
  ASSERT_OK_AND_ASSIGN(RetentionCounts counts, Pass(options));
  EXPECT_EQ(counts.deleted_jobs, 1);
  EXPECT_EQ(counts.purged_jobs, 0);
  EXPECT_THAT(Listed(false), ElementsAre("queued", "young"));
  EXPECT_THAT(Listed(true), ElementsAre("queued", "young", "old"));
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(Actions("old").front(), "retention delete");
  ASSERT_OK_AND_ASSIGN(counts, Pass(options));
  EXPECT_EQ(counts.purged_jobs, 1);
  EXPECT_THAT(store_->Get("old"), FailsWith("JOB_NOT_FOUND", "old"));
  EXPECT_OK(store_->Get("queued"));
  EXPECT_THAT(Actions(""), testing::Contains("retention purge"));
}

TEST_F(RetentionTest, RequestIdIsHonouredForAWeekThoughTheJobIsDeleted) {
  NewJob job;
  job.id = "a";
  job.spec.set_model("m");
  job.request_id = "123e4567-e89b-42d3-a456-426614174000";
  job.create_time = clock_.Now();
  ASSERT_OK(scheduler_->Submit(job));
  ASSERT_OK(scheduler_->Cancel("a"));
  Delete("a", absl::ZeroDuration());
  clock_.Advance(kRequestIdLife - absl::Seconds(1));
  ASSERT_OK_AND_ASSIGN(RetentionCounts counts, Pass(Eager()));
  EXPECT_EQ(counts.purged_jobs, 0);
  ASSERT_OK_AND_ASSIGN(const auto known, store_->FindRequest(kDefaultTenant, job.request_id, job.spec));
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(known->id, "a");
  clock_.Advance(absl::Seconds(2));
  ASSERT_OK_AND_ASSIGN(counts, Pass(Eager()));
  EXPECT_EQ(counts.purged_jobs, 1);
}

TEST_F(RetentionTest, OnlyTheNewestOfATenantAreKept) {
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    Cancelled(id);
    clock_.Advance(absl::Seconds(1));
  }
  RetentionOptions options = Eager();
  options.retain_jobs_per_tenant = 2;
  ASSERT_OK_AND_ASSIGN(const RetentionCounts counts, Pass(options));
  EXPECT_EQ(counts.deleted_jobs, 3);
  EXPECT_THAT(Listed(false), ElementsAre("e", "d"));
}

TEST_F(RetentionTest, ExpiredArtifactLosesItsFilesAndTheJobStays) {
  Succeed("a", "weights of a");
  Succeed("b", "weights of b");
  ExpireSoon("a");
  ASSERT_OK_AND_ASSIGN(const RetentionCounts counts, Pass(Eager()));
  EXPECT_EQ(counts.expired_artifacts, 1);
  EXPECT_EQ(counts.removed_files, 2);
  EXPECT_TRUE(Job("a").artifact().expired());
  EXPECT_EQ(Job("a").artifact().files_size(), 2) << "what it had is still known";
  EXPECT_THAT(Stored(), testing::UnorderedElementsAreArray(Digests(SmallArtifact("weights of b"))));
  ASSERT_OK_AND_ASSIGN(const auto report, store_->Report("a"));
  EXPECT_TRUE(report.has_value());
  ASSERT_OK_AND_ASSIGN(const RetentionCounts again, Pass(Eager()));
  EXPECT_EQ(again.expired_artifacts, 0);
}

TEST_F(RetentionTest, FilesOfAnotherJobStay) {
  Succeed("a", "the same weights");
  Succeed("b", "the same weights");
  ExpireSoon("a");
  ASSERT_OK_AND_ASSIGN(RetentionCounts counts, Pass(Eager()));
  EXPECT_EQ(counts.expired_artifacts, 1);
  EXPECT_EQ(counts.removed_files, 0);
  EXPECT_EQ(Stored().size(), 2u);
  ExpireSoon("b");
  ASSERT_OK_AND_ASSIGN(counts, Pass(Eager()));
  EXPECT_EQ(counts.removed_files, 2);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(RetentionTest, FilesThatWerePublishedJustNowAreLeftAlone) {
  Succeed("a", "weights");
  ExpireSoon("a");
  RetentionOptions options = Eager();
  options.publish_grace = absl::Hours(1);
  options.orphan_age = absl::Hours(1);
  ASSERT_OK_AND_ASSIGN(RetentionCounts counts, Pass(options));
  EXPECT_EQ(counts.expired_artifacts, 1);
  EXPECT_EQ(counts.removed_files, 0);
  ASSERT_OK_AND_ASSIGN(counts, Pass(Eager()));
  EXPECT_EQ(counts.removed_files, 2) << "later they are nobody's";
}

// A publish that a crash cut off between the files and the row.
TEST_F(RetentionTest, OrphansAreCollectedByAge) {
  Submit("a");
  const FinishedJob finished = Uploaded("a", Assign("a", "w2"));
  ASSERT_OK(artifacts_->Publish({"a", finished.fence()}, finished.artifact()));
  ASSERT_EQ(Stored().size(), 2u);
  RetentionOptions options = Eager();
  options.orphan_age = absl::Hours(1);
  ASSERT_OK_AND_ASSIGN(RetentionCounts counts, Pass(options));
  EXPECT_EQ(counts.removed_files, 0);
  Succeed("b", "of b");
  ASSERT_OK_AND_ASSIGN(const RetentionPlan plan, Retention(Eager(), {*store_, *artifacts_}).DryRun(10));
  EXPECT_EQ(plan.orphans.size(), 2u);
  EXPECT_EQ(Stored().size(), 4u) << "a dry run changes nothing";
  ASSERT_OK_AND_ASSIGN(counts, Pass(Eager()));
  EXPECT_EQ(counts.removed_files, 2);
  EXPECT_THAT(Stored(), testing::UnorderedElementsAreArray(Digests(SmallArtifact("of b"))));
}

TEST_F(RetentionTest, DryRunNamesWhatWouldGo) {
  Succeed("expires", "weights");
  ExpireSoon("expires");
  Cancelled("old");
  Cancelled("deleted");
  Delete("deleted");
  clock_.Advance(kRequestIdLife + absl::Hours(2));
  RetentionOptions options = Eager();
  options.retain_jobs = absl::Hours(1);
  Retention retention(options, {*store_, *artifacts_});
  ASSERT_OK_AND_ASSIGN(const RetentionPlan plan, retention.DryRun(10));
  EXPECT_THAT(plan.to_delete, UnorderedElementsAre("expires", "old"));
  EXPECT_THAT(plan.to_expire, ElementsAre("expires"));
  EXPECT_THAT(plan.to_purge, ElementsAre("deleted"));
  EXPECT_THAT(Listed(true), ElementsAre("deleted", "old", "expires"));
}

TEST_F(RetentionTest, PurgeTakesFilesAndRows) {
  Succeed("a", "weights");
  Delete("a");
  clock_.Advance(kRequestIdLife + absl::Hours(1));
  ASSERT_OK_AND_ASSIGN(const RetentionCounts counts, Pass(Eager()));
  EXPECT_EQ(counts.purged_jobs, 1);
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_THAT(store_->Get("a"), FailsWith("JOB_NOT_FOUND", "a"));
}

// Each step of a removal fails once, before or after it was done; the next pass finishes the work.
TEST_F(RetentionTest, InterruptedRemovalsAreFinishedByTheNextPass) {
  int number = 0;
  for (const char* step : {"delete.mark.commit", "expire.commit", "purge.unlink", "purge.commit"}) {
    for (const char* side : {"before", "after"}) {
      SCOPED_TRACE(absl::StrCat(step, ".", side));
      const std::string id = absl::StrCat("job-", ++number);
      Succeed(id, absl::StrCat("weights ", number));
      clock_.Advance(kRequestIdLife + absl::Hours(3));
      RetentionOptions options = Eager();
      options.retain_jobs = absl::Hours(1);
      options.undelete_window = absl::ZeroDuration();
      ASSERT_OK(SetFailPoints(absl::StrCat(step, ".", side, "=error@1")));
      EXPECT_THAT(Pass(options), FailsWith("FAIL_POINT", ""));
      ASSERT_OK(SetFailPoints(""));
      Restart();
      // A file may be nobody's only after its row is gone: the first pass ends the job, the second finds the rest.
      ASSERT_OK(Pass(options));
      ASSERT_OK(Pass(options));
      EXPECT_THAT(store_->Get(id), FailsWith("JOB_NOT_FOUND", id));
      EXPECT_THAT(Stored(), IsEmpty());
    }
  }
}

TEST_F(RetentionTest, OldEventsGoAndWatchesFromBeforeThemAreTold) {
  Submit("a");
  const int64_t submitted = Job("a").revision();
  const int64_t fence = Assign("a");
  Heartbeat("w1", "a", fence);
  clock_.Advance(absl::Hours(24 * 8));
  ASSERT_OK_AND_ASSIGN(const RetentionCounts counts, Pass(Eager()));
  EXPECT_GE(counts.dropped_events, 2);
  EXPECT_THAT(store_->ChangesAfter("a", submitted), FailsWith("REVISION_COMPACTED", ""));
  EXPECT_OK(store_->ChangesAfter("a", 0));
  EXPECT_OK(store_->ChangesAfter("a", Job("a").revision()));
}

TEST_F(RetentionTest, MarksKeepTheirRules) {
  const AuditNote note = {.actor = "client:test", .action = "x", .detail = ""};
  JobRecord record;
  record.job.set_state(QuantJob::RUNNING);
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_THAT(MarkDeleted(record, now, absl::Hours(1), note), FailsWith("JOB_NOT_FINISHED", "cancel it first"));
  EXPECT_THAT(TakeBack(record, now, note), FailsWith("JOB_NOT_DELETED", ""));
  EXPECT_THAT(MarkExpired(record, note), FailsWith("NOTHING_TO_EXPIRE", ""));
  record.job.set_state(QuantJob::SUCCEEDED);
  ASSERT_OK(MarkDeleted(record, now, absl::Hours(1), note));
  EXPECT_EQ(record.job.purge_time().seconds() - record.job.delete_time().seconds(), 3600);
  EXPECT_EQ(record.audit.action, "x");
  EXPECT_THAT(MarkDeleted(record, now, absl::Hours(1), note), FailsWith(kAlreadyDeleted, ""));
  EXPECT_THAT(TakeBack(record, now + absl::Hours(1), note), FailsWith("UNDELETE_TOO_LATE", ""));
  ASSERT_OK(TakeBack(record, now + absl::Minutes(59), note));
  EXPECT_FALSE(record.job.has_purge_time());
  record.job.mutable_artifact();
  ASSERT_OK(MarkExpired(record, note));
  EXPECT_THAT(MarkExpired(record, note), FailsWith("NOTHING_TO_EXPIRE", ""));
}

}  // namespace
}  // namespace quantd
