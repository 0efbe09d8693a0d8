// DeleteQuantJob, UndeleteQuantJob and the audit log, over gRPC.
#include <gtest/gtest.h>

#include <thread>

#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/http_get.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using v1::QuantJob;

class DeletionTest : public DaemonTest {
 protected:
  absl::StatusOr<QuantJob> Delete(const std::string& name) {
    v1::DeleteQuantJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    QuantJob job;
    const grpc::Status status = quant_->DeleteQuantJob(&context, request, &job);
    if (!status.ok()) return FromRpcStatus(status);
    return job;
  }
  absl::StatusOr<QuantJob> Undelete(const std::string& name) {
    v1::UndeleteQuantJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    QuantJob job;
    const grpc::Status status = quant_->UndeleteQuantJob(&context, request, &job);
    if (!status.ok()) return FromRpcStatus(status);
    return job;
  }
  absl::StatusOr<v1::ListAuditRecordsResponse> Audit(const std::string& parent, int page_size = 0,
                                                     const std::string& token = "") {
    v1::ListAuditRecordsRequest request;
    request.set_parent(parent);
    request.set_page_size(page_size);
    request.set_page_token(token);
    grpc::ClientContext context;
    v1::ListAuditRecordsResponse response;
    const grpc::Status status = quant_->ListAuditRecords(&context, request, &response);
    if (!status.ok()) return FromRpcStatus(status);
    return response;
  }
  std::vector<std::string> Actions(const std::string& parent) {
    const auto page = Audit(parent);
    EXPECT_OK(page);
    std::vector<std::string> actions;
    if (page.ok()) {
      for (const v1::AuditRecord& record : page->records()) actions.push_back(record.action());
    }
    return actions;
  }
  std::vector<std::string> Listed(bool show_deleted) {
    v1::ListQuantJobsRequest request;
    request.set_show_deleted(show_deleted);
    const auto page = List(request);
    EXPECT_OK(page);
    std::vector<std::string> names;
    for (const QuantJob& job : page->jobs()) names.push_back(job.name());
    return names;
  }
};

TEST_F(DeletionTest, DeletedJobIsHiddenAndCanBeTakenBack) {
  config_.undelete_window_ms = 3'600'000;
  Start();
  const std::string name = Submitted();
  ASSERT_OK(Cancel(name));
  ASSERT_OK_AND_ASSIGN(const QuantJob deleted, Delete(name));
  EXPECT_EQ(deleted.state(), QuantJob::CANCELLED);
  EXPECT_EQ(deleted.purge_time().seconds() - deleted.delete_time().seconds(), 3600);
  EXPECT_THAT(Listed(false), IsEmpty());
  EXPECT_THAT(Listed(true), ElementsAre(name));
  ASSERT_OK_AND_ASSIGN(const QuantJob shown, Get(name));
  EXPECT_EQ(shown.SerializeAsString(), deleted.SerializeAsString());
  ASSERT_OK_AND_ASSIGN(const QuantJob again, Delete(name));
  EXPECT_EQ(again.SerializeAsString(), deleted.SerializeAsString()) << "deleting twice changes nothing";
  Start();
  EXPECT_THAT(Listed(false), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const QuantJob back, Undelete(name));
  EXPECT_FALSE(back.has_delete_time());
  EXPECT_GT(back.revision(), deleted.revision());
  EXPECT_THAT(Listed(false), ElementsAre(name));
  EXPECT_THAT(Undelete(name), FailsWith("JOB_NOT_DELETED", name));
}

TEST_F(DeletionTest, OnlyEndedJobsCanBeDeleted) {
  const std::string name = Submitted();
  EXPECT_THAT(Delete(name), FailsWith("JOB_NOT_FINISHED", "QUEUED"));
  TakeJob();
  EXPECT_THAT(Delete(name), FailsWith("JOB_NOT_FINISHED", "RUNNING"));
  ASSERT_OK(Cancel(name));
  const auto refused = Delete(name);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused, FailsWith("JOB_NOT_FINISHED", "CANCELLING"));
  EXPECT_THAT(Delete("tenants/default/jobs/job-absent"), FailsWith("JOB_NOT_FOUND", "job-absent"));
  EXPECT_THAT(Undelete("tenants/default/jobs/job-absent"), FailsWith("JOB_NOT_FOUND", "job-absent"));
  EXPECT_THAT(Delete("job"), FailsWith("NAME_INVALID", "job"));
}

TEST_F(DeletionTest, ArtifactOfADeletedJobStaysWhileItCanBeTakenBack) {
  const std::string name = Submitted();
  Succeed(TakeJob(), SmallArtifact());
  ASSERT_OK(Delete(name));
  ASSERT_OK(Undelete(name));
  grpc::ClientContext context;
  v1::DownloadArtifactRequest request;
  request.set_name(name);
  const auto reader = quant_->DownloadArtifact(&context, request);
  v1::DownloadArtifactResponse chunk;
  while (reader->Read(&chunk)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(chunk.done());
}

TEST_F(DeletionTest, RetentionPassRunsBesideTheDaemon) {
  config_.retain_jobs_ms = 1'000;
  config_.undelete_window_ms = 0;
  config_.retention_ms = 100;
  config_.lease_ms = 100;
  Start();
  const std::string name = Submitted();
  ASSERT_OK(Cancel(name));
  clock_.Advance(absl::Hours(24 * 8));
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (Get(name).ok() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
  EXPECT_THAT(Get(name), FailsWith("JOB_NOT_FOUND", name));
  EXPECT_THAT(Actions("tenants/default"), ElementsAre("purge", "delete", "cancel", "submit"));
}

TEST_F(DeletionTest, OperatorsSeeWhatThePassWouldDo) {
  config_.retain_jobs_ms = 1'000;
  Start();
  const std::string name = Submitted();
  ASSERT_OK(Cancel(name));
  clock_.Advance(absl::Hours(1));
  const HttpAnswer answer = HttpCall(daemon_->http_address(), "GET /retention");
  EXPECT_EQ(answer.code, 200);
  ASSERT_OK_AND_ASSIGN(const Json plan, ParseJson(answer.body, "plan"));
  EXPECT_EQ(plan.at("delete"), Json::array({SplitJobName(name)->job}));
  for (const char* empty : {"expire", "purge", "orphans"}) EXPECT_EQ(plan.at(empty), Json::array()) << empty;
  EXPECT_THAT(Listed(false), ElementsAre(name));
}

TEST_F(DeletionTest, ArtifactsExpireAtTheTimeFixedAtPublication) {
  config_.retain_artifacts_ms = 3'600'000;
  Start();
  const std::string name = Submitted();
  Succeed(TakeJob(), SmallArtifact());
  ASSERT_OK_AND_ASSIGN(const QuantJob job, Get(name));
  EXPECT_EQ(job.artifact().expire_time().seconds() - job.end_time().seconds(), 3600);
}

TEST_F(DeletionTest, EveryChangeLeavesARecord) {
  const std::string name = Submitted();
  const std::string other = Submitted("rtn");
  ASSERT_OK(Cancel(other));
  Succeed(TakeJob(), SmallArtifact());
  ASSERT_OK(Delete(name));
  ASSERT_OK(Undelete(name));
  EXPECT_THAT(Actions(name), ElementsAre("undelete", "delete", "succeed", "claim", "submit"));
  EXPECT_THAT(Actions(other), ElementsAre("cancel", "submit"));
  ASSERT_OK_AND_ASSIGN(const auto all, Audit("tenants/default"));
  ASSERT_EQ(all.records_size(), 7);
  for (const v1::AuditRecord& record : all.records()) {
    const bool by_worker = record.action() == "claim" || record.action() == "succeed";
    EXPECT_EQ(record.actor(), by_worker ? "worker:w" : "client:127.0.0.1") << record.action();
    EXPECT_EQ(record.time().seconds(), absl::ToUnixSeconds(clock_.Now()));
  }
  EXPECT_EQ(all.records(0).job(), name);
}

TEST_F(DeletionTest, RefusedCallsLeaveNoRecord) {
  const std::string name = Submitted();
  EXPECT_FALSE(Delete(name).ok());
  EXPECT_FALSE(Undelete(name).ok());
  ASSERT_OK(Cancel(name));
  ASSERT_OK(Cancel(name));
  ASSERT_OK(Delete(name));
  ASSERT_OK(Delete(name));
  EXPECT_THAT(Actions(name), ElementsAre("delete", "cancel", "submit"));
}

TEST_F(DeletionTest, AuditComesInPagesOfItsOwnTenant) {
  for (int i = 0; i < 5; ++i) Submitted();
  v1::SubmitQuantJobRequest foreign = GoodRequest();
  foreign.set_parent("tenants/search");
  ASSERT_OK_AND_ASSIGN(const auto submitted, Submit(foreign));
  EXPECT_THAT(Actions("tenants/search"), ElementsAre("submit"));
  std::string token;
  int records = 0;
  do {
    ASSERT_OK_AND_ASSIGN(const auto page, Audit("", 2, token));
    records += page.records_size();
    token = page.next_page_token();
  } while (!token.empty() && records < 100);
  EXPECT_EQ(records, 5);
  ASSERT_OK_AND_ASSIGN(const auto page, Audit("", 2));
  EXPECT_THAT(Audit("tenants/search", 2, page.next_page_token()), FailsWith("PAGE_TOKEN_INVALID", "begin again"));
  EXPECT_THAT(Audit("", -1), FailsWith("PAGE_SIZE_INVALID", "-1"));
  EXPECT_THAT(Audit("nonsense"), FailsWith("PARENT_INVALID", "nonsense"));
  EXPECT_THAT(Actions("tenants/-"), ElementsAre("submit", "submit", "submit", "submit", "submit", "submit"));
  EXPECT_THAT(Audit("tenants/-", 2, page.next_page_token()), FailsWith("PAGE_TOKEN_INVALID", "begin again"));
  const std::string under_default = JobName(kDefaultTenant, SplitJobName(submitted.job().name())->job);
  EXPECT_THAT(Actions(under_default), IsEmpty()) << "another tenant's job looks like none";
}

}  // namespace
}  // namespace quantd
