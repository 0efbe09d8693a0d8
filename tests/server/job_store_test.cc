#include "server/store/job_store.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/store/data_directory.h"
#include "server/store/job_rows.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_database.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using v1::QuantJob;

absl::Status StartAttempt(JobRecord& record) {
  record.job.set_state(QuantJob::RUNNING);
  record.fence += 1;
  record.job.set_attempt(record.job.attempt() + 1);
  record.job.set_worker("w");
  record.incarnation = "i";
  record.lease_deadline = absl::FromUnixSeconds(2'000'000'000);
  return absl::OkStatus();
}

absl::Status EndCancelled(JobRecord& record) {
  record.job.set_state(QuantJob::CANCELLED);
  record.lease_deadline = absl::InfinitePast();
  SetTimestamp(absl::FromUnixSeconds(1'900'000'000), record.job.mutable_end_time());
  return absl::OkStatus();
}

class JobStoreTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen() {
    store_.reset();
    auto store = OpenSqliteJobStore(directory_, clock_);
    ASSERT_OK(store);
    store_ = *std::move(store);
  }

  NewJob Job(absl::string_view id, absl::string_view preset = "gptq", absl::string_view request_id = "") {
    NewJob job;
    job.id = std::string(id);
    job.spec.set_model("m");
    job.spec.mutable_recipe()->set_preset(std::string(preset));
    job.request_id = std::string(request_id);
    job.create_time = clock_.Now();
    return job;
  }
  JobRecord Submitted(const NewJob& job) {
    auto result = store_->Submit(job, {});
    EXPECT_OK(result);
    return result.ok() ? result->record : JobRecord();
  }
  std::optional<JobRecord> Claimed(std::vector<std::string> devices = {"cpu"}) {
    auto record = store_->Claim({.devices = std::move(devices), .now = clock_.Now()}, &StartAttempt);
    EXPECT_OK(record);
    return record.ok() ? *record : std::nullopt;
  }

  const std::string directory_ = MakeTempDir();
  FakeClock clock_;
  std::unique_ptr<JobStore> store_;
};

TEST_F(JobStoreTest, JobsSurviveReopeningUnchanged) {
  NewJob job = Job("a");
  (*job.spec.mutable_labels())["team"] = "x";
  (*job.spec.mutable_recipe()->mutable_overrides()->mutable_fields())["bits"].set_number_value(3);
  const JobRecord before = Submitted(job);
  Reopen();
  ASSERT_OK_AND_ASSIGN(const JobRecord after, store_->Get("a"));
  EXPECT_EQ(after.job.SerializeAsString(), before.job.SerializeAsString());
  EXPECT_EQ(after.job.name(), "tenants/default/jobs/a");
}

TEST_F(JobStoreTest, SameRequestIdGivesTheSameJobAlsoAfterReopening) {
  Submitted(Job("a", "gptq", "r1"));
  Reopen();
  ASSERT_OK_AND_ASSIGN(const SubmitResult again, store_->Submit(Job("b", "gptq", "r1"), {}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.record.id, "a");
}

TEST_F(JobStoreTest, SameRequestIdWithAnotherSpecNamesTheField) {
  Submitted(Job("a", "gptq", "r1"));
  const auto again = store_->Submit(Job("b", "rtn", "r1"), {});
  EXPECT_THAT(again, FailsWith("REQUEST_ID_REUSED", "spec.recipe"));
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(FieldOf(again.status()), "spec.recipe");
}

TEST_F(JobStoreTest, ManyThreadsWithOneRequestIdMakeOneJob) {
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

TEST_F(JobStoreTest, QueueLimitRefusesNewJobsButAnswersDuplicates) {
  Submitted(Job("a", "gptq", "r1"));
  EXPECT_THAT(store_->Submit(Job("b"), {.max_queued = 1}), FailsWith("QUOTA_QUEUED_JOBS", "limit is 1"));
  ASSERT_OK_AND_ASSIGN(const SubmitResult again, store_->Submit(Job("c", "gptq", "r1"), {.max_queued = 1}));
  EXPECT_TRUE(again.duplicate);
}

TEST_F(JobStoreTest, ClaimsOldestFirstForTheDevicesOfTheWorker) {
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

TEST_F(JobStoreTest, ClaimWaitsForRunAfter) {
  Submitted(Job("a"));
  Claimed();
  ASSERT_OK(store_->Update(DurableStep::kRenew, "a", [&](JobRecord& record) {
    record.job.set_state(QuantJob::QUEUED);
    record.lease_deadline = absl::InfinitePast();
    record.run_after = clock_.Now() + absl::Seconds(5);
    return absl::OkStatus();
  }));
  EXPECT_FALSE(Claimed().has_value());
  clock_.Advance(absl::Seconds(5));
  const auto again = Claimed();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->fence, 2);
}

TEST_F(JobStoreTest, IllegalTransitionsAndRefusalsWriteNothing) {
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

TEST_F(JobStoreTest, TerminalJobsNeverChange) {
  Submitted(Job("a"));
  ASSERT_OK(store_->Update(DurableStep::kRenew, "a", &EndCancelled));
  EXPECT_THAT(store_->Update(DurableStep::kRenew, "a", &StartAttempt),
              FailsWith("ILLEGAL_TRANSITION", "CANCELLED to RUNNING"));
}

TEST_F(JobStoreTest, ChangesAreReplayedFromAnyRevision) {
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

TEST_F(JobStoreTest, ListsNewestFirstWithEveryRestriction) {
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

TEST_F(JobStoreTest, ReportsAreStoredWithTheTransition) {
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

TEST_F(JobStoreTest, UnknownJobsAreNotFound) {
  EXPECT_THAT(store_->Get("nope"), FailsWith("JOB_NOT_FOUND", "'nope'"));
  EXPECT_THAT(store_->ChangesAfter("nope", 0), FailsWith("JOB_NOT_FOUND", "nope"));
  ASSERT_OK_AND_ASSIGN(const auto report, store_->Report("nope"));
  EXPECT_FALSE(report.has_value());
}

TEST_F(JobStoreTest, NewerSchemaIsRefusedUntouched) {
  store_.reset();
  ASSERT_OK_AND_ASSIGN(auto connection, SqliteConnection::Open(directory_ + "/quantd.db", false));
  ASSERT_OK(connection->Execute("PRAGMA user_version = 99"));
  connection.reset();
  EXPECT_THAT(OpenSqliteJobStore(directory_, clock_), FailsWith("DATA_DIRECTORY_TOO_NEW", "schema 99"));
}

TEST_F(JobStoreTest, FilesThatAreNoDatabaseAreRefused) {
  store_.reset();
  ASSERT_OK(WriteFileDurably(RealFileSystem(), directory_ + "/quantd.db", std::string(5000, 'x')));
  EXPECT_THAT(OpenSqliteJobStore(directory_, clock_), FailsWith("STORE_CORRUPT", "quantd.db"));
}

TEST(DataDirectory, IsHeldByOneAtATime) {
  const std::string path = MakeTempDir() + "/data";
  {
    ASSERT_OK_AND_ASSIGN(const DataDirectory first, DataDirectory::Open(path));
    EXPECT_THAT(DataDirectory::Open(path), FailsWith("DATA_DIRECTORY_LOCKED", absl::StrCat("process ", getpid())));
  }
  EXPECT_OK(DataDirectory::Open(path));
}

TEST(DataDirectory, MustBeADirectory) {
  const std::string path = MakeTempDir() + "/file";
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, "x"));
  EXPECT_THAT(DataDirectory::Open(path), FailsWith("DATA_DIRECTORY_UNUSABLE", "--data-dir"));
}

}  // namespace
}  // namespace quantd
