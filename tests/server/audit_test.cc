// Whatever changes a job leaves a record of who, what and when: held against the methods of the services and against
// the durable steps, so that a new one without a record fails here.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/durable_step.h"
#include "server/errors/rpc_status.h"
#include "server/retention/marks.h"
#include "server/retention/retention.h"
#include "tests/server/worker_calls.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::IsEmpty;
using v1::FinishedJob;

class AuditTest : public WorkerCallsTest {
 public:
  using WorkerCallsTest::Cancel;
  using WorkerCallsTest::Report;
  using WorkerCallsTest::Submitted;
  using WorkerCallsTest::Succeed;
  using WorkerCallsTest::TakeJob;
  using WorkerCallsTest::UploadAndCommit;

  void Delete(const std::string& name) {
    v1::DeleteQuantJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    v1::QuantJob job;
    EXPECT_OK(FromRpcStatus(quant_->DeleteQuantJob(&context, request, &job)));
  }
  void Undelete(const std::string& name) {
    v1::UndeleteQuantJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    v1::QuantJob job;
    EXPECT_OK(FromRpcStatus(quant_->UndeleteQuantJob(&context, request, &job)));
  }
  // "actor action" of every record, each once.
  std::set<std::string> Records() {
    v1::ListAuditRecordsRequest request;
    request.set_parent("tenants/-");
    request.set_page_size(1000);
    grpc::ClientContext context;
    v1::ListAuditRecordsResponse response;
    EXPECT_OK(FromRpcStatus(quant_->ListAuditRecords(&context, request, &response)));
    std::set<std::string> records;
    for (const v1::AuditRecord& record : response.records()) {
      EXPECT_EQ(record.time().seconds(), absl::ToUnixSeconds(clock_.Now()));
      EXPECT_EQ(record.job().rfind("tenants/default/jobs/", 0), 0u);
      records.insert(absl::StrCat(record.actor(), " ", record.action()));
    }
    return records;
  }
};

struct MethodRow {
  const char* method;
  // What its call must leave beside what came before it; empty: it changes no job.
  std::set<std::string> records;
  void (*call)(AuditTest& test) = nullptr;
};

const std::vector<MethodRow>& MethodRows() {
  static const std::vector<MethodRow> rows = {
      {"SubmitQuantJob", {"client:127.0.0.1 submit"}, [](AuditTest& test) { test.Submitted(); }},
      {"GetQuantJob", {}},
      {"ListQuantJobs", {}},
      {"CancelQuantJob",
       {"client:127.0.0.1 cancel"},
       [](AuditTest& test) { EXPECT_OK(test.Cancel(test.Submitted())); }},
      {"WatchQuantJob", {}},
      {"GetQuantReport", {}},
      {"DownloadArtifact", {}},
      {"DeleteQuantJob",
       {"client:127.0.0.1 delete"},
       [](AuditTest& test) {
         const std::string name = test.Submitted();
         EXPECT_OK(test.Cancel(name));
         test.Delete(name);
       }},
      {"UndeleteQuantJob",
       {"client:127.0.0.1 undelete"},
       [](AuditTest& test) {
         const std::string name = test.Submitted();
         EXPECT_OK(test.Cancel(name));
         test.Delete(name);
         test.Undelete(name);
       }},
      {"ListAuditRecords", {}},
      {"ListRecipes", {}},
      {"Synchronize",
       {"worker:w claim", "worker:w succeed", "worker:w requeue", "worker:w fail", "worker:w cancel"},
       [](AuditTest& test) {
         test.Submitted();
         test.Succeed(test.TakeJob(), SmallArtifact());
         for (const auto outcome : {FinishedJob::OUTCOME_FAILED, FinishedJob::OUTCOME_RETURNED}) {
           test.Submitted();
           const v1::Assignment job = test.TakeJob();
           FinishedJob finished;
           finished.set_job(job.job());
           finished.set_fence(job.fence());
           finished.set_outcome(outcome);
           EXPECT_OK(test.Report(finished));
         }
         const v1::Assignment job = test.TakeJob();
         EXPECT_OK(test.Cancel(absl::StrCat("tenants/default/jobs/", job.job())));
         FinishedJob finished;
         finished.set_job(job.job());
         finished.set_fence(job.fence());
         finished.set_outcome(FinishedJob::OUTCOME_CANCELLED);
         EXPECT_OK(test.Report(finished));
       }},
      {"UploadArtifact", {}},  // bytes that no job names yet
      {"GetUploadOffset", {}},
      {"CommitCheckpoint",
       {"worker:w checkpoint"},
       [](AuditTest& test) {
         test.Submitted();
         EXPECT_OK(test.UploadAndCommit(test.TakeJob(), {{"checkpoint.json", "{}"}}, 1));
       }},
      {"CheckpointFilesMissing", {}},
      {"DownloadCheckpoint", {}},
  };
  return rows;
}

TEST(AuditTable, HasEveryMethodOfTheServices) {
  std::set<std::string> known;
  for (const MethodRow& row : MethodRows()) known.insert(row.method);
  size_t methods = 0;
  for (const auto* file :
       {v1::SubmitQuantJobRequest::descriptor()->file(), v1::SynchronizeRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j, ++methods) {
        const std::string& name = file->service(i)->method(j)->name();
        EXPECT_EQ(known.count(name), 1u) << name << " changes jobs without a record, or is no row of the table";
      }
    }
  }
  EXPECT_EQ(methods, known.size());
}

TEST_F(AuditTest, EveryCallThatChangesAJobIsRecorded) {
  for (const MethodRow& row : MethodRows()) {
    if (row.call == nullptr) {
      EXPECT_THAT(row.records, IsEmpty()) << row.method;
      continue;
    }
    config_.data_dir = absl::StrCat(directory_, "/", row.method);
    Start();
    row.call(*this);
    EXPECT_THAT(Records(), testing::IsSupersetOf(row.records)) << row.method;
  }
}

// The rest of the durable steps is what the service does by itself.
struct StepRow {
  const char* step;
  const char* record;  // "actor action", or "" with
  const char* why_not = "";
};
constexpr char kFilesOnly[] = "files that no job names, or the files of a change that is recorded";

constexpr StepRow kStepRows[] = {
    {"submit.commit", "client:test submit"},
    {"claim.commit", "worker:w1 claim"},
    {"renew.commit", "", "not visible"},
    {"requeue.commit", "sweeper requeue"},
    {"fail.commit", "sweeper fail"},
    {"cancel.commit", "client:test cancel"},
    {"cancel.confirm.commit", "worker:w1 cancel"},
    {"publish.commit", "worker:w1 succeed"},
    {"checkpoint.commit", "", "EveryCallThatChangesAJobIsRecorded"},
    {"delete.mark.commit", "retention delete"},
    {"undelete.commit", "", "EveryCallThatChangesAJobIsRecorded"},
    {"expire.commit", "retention expire"},
    {"purge.commit", "retention purge"},
    {"migrate.commit", "", "SqliteDatabaseTest and PostgresJobStoreTest look for its record"},
    {"housekeeping.commit", "",
     "old rows that only repeated calls and watches need, and a repair, which FsckTest looks at"},
    {"upload.write", "", kFilesOnly},
    {"upload.fsync", "", kFilesOnly},
    {"artifact.rename", "", kFilesOnly},
    {"artifact.dirsync", "", kFilesOnly},
    {"purge.unlink", "", kFilesOnly},
    {"checkpoint.write", "", kFilesOnly},
    {"checkpoint.fsync", "", kFilesOnly},
    {"checkpoint.rename", "", kFilesOnly},
    {"checkpoint.dirsync", "", kFilesOnly},
};

class StepAuditTest : public SchedulerTest {
 protected:
  int64_t Assign(const std::string& id) {
    const v1::SynchronizeResponse answer = Answer(Request("w1"));
    EXPECT_EQ(answer.assignments_size(), 1) << id;
    return answer.assignments_size() == 1 ? answer.assignments(0).fence() : 0;
  }
  void SubmitAsClient(const std::string& id, int64_t queue_timeout_ms = 0) {
    NewJob job = NewJobOf(id);
    job.actor = "client:test";
    job.spec.set_queue_timeout_ms(queue_timeout_ms);
    ASSERT_OK(scheduler_->Submit(job));
  }
  void Pass(absl::Duration retain_jobs) {
    RetentionOptions options;
    options.retain_jobs = retain_jobs;
    ASSERT_OK(Retention(options, {*store_, *artifacts_}).Pass());
  }

  // Something of each step.
  void LiveThroughAll() {
    SubmitAsClient("succeeds");
    Finish("w1", Uploaded("succeeds", Assign("succeeds")));
    SubmitAsClient("cancelled");
    const int64_t fence = Assign("cancelled");
    ASSERT_OK(scheduler_->Cancel("cancelled", "client:test"));
    Finish("w1", Finished("cancelled", fence, FinishedJob::OUTCOME_CANCELLED));
    SubmitAsClient("lost");
    Assign("lost");
    SubmitAsClient("late", /*queue_timeout_ms=*/1);
    clock_.Advance(kLease + absl::Seconds(1));
    ASSERT_OK(scheduler_->Sweep());
    clock_.Advance(absl::Hours(24 * 30));
    Pass(absl::Hours(1));
    clock_.Advance(absl::Hours(24 * 30));
    Pass(absl::ZeroDuration());
  }
};

TEST(AuditTable, HasEveryDurableStep) {
  std::set<std::string> known;
  for (const StepRow& row : kStepRows) known.insert(row.step);
  for (const DurableStepInfo& step : DurableSteps()) {
    EXPECT_EQ(known.count(step.name), 1u) << step.name << " leaves no record, or is no row of the table";
  }
  EXPECT_EQ(known.size(), DurableSteps().size());
}

TEST_F(StepAuditTest, WhatTheServiceDoesByItselfIsRecorded) {
  LiveThroughAll();
  ASSERT_OK_AND_ASSIGN(const auto rows, store_->Audit({.limit = 1000}));
  std::set<std::string> records;
  for (const AuditRow& row : rows) records.insert(absl::StrCat(row.note.actor, " ", row.note.action));
  for (const StepRow& row : kStepRows) {
    EXPECT_NE(std::string(row.record).empty(), std::string(row.why_not).empty()) << row.step;
    if (*row.record == 0) continue;
    EXPECT_EQ(records.count(row.record), 1u) << row.step;
  }
}

}  // namespace
}  // namespace quantd
