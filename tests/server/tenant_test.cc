// Jobs of several tenants: each sees its own, and nobody learns of another's.
#include <gtest/gtest.h>

#include "server/api/actor.h"
#include "server/api/page_token.h"
#include "server/api/resource_names.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kRequestId[] = "123e4567-e89b-42d3-a456-426614174000";

class TenantTest : public DaemonTest {
 protected:
  v1::SubmitQuantJobRequest RequestOf(const std::string& tenant, const std::string& request_id = "") {
    v1::SubmitQuantJobRequest request = GoodRequest(request_id);
    request.set_parent("tenants/" + tenant);
    return request;
  }
  std::string SubmittedBy(const std::string& tenant) {
    const auto response = Submit(RequestOf(tenant));
    EXPECT_OK(response);
    return response.ok() ? response->job().name() : "";
  }
  std::vector<std::string> ListedFor(const std::string& parent) {
    v1::ListQuantJobsRequest request;
    request.set_parent(parent);
    const auto page = List(request);
    EXPECT_OK(page);
    std::vector<std::string> names;
    if (page.ok()) {
      for (const v1::QuantJob& job : page->jobs()) names.push_back(job.name());
    }
    return names;
  }
  // The job under the name that another tenant would use.
  static std::string Renamed(const std::string& name, const std::string& tenant) {
    return JobName(tenant, SplitJobName(name)->job);
  }
  absl::Status WatchOnce(const std::string& name) {
    grpc::ClientContext context;
    v1::WatchQuantJobRequest request;
    request.set_name(name);
    const auto reader = quant_->WatchQuantJob(&context, request);
    v1::WatchQuantJobResponse response;
    if (reader->Read(&response)) return absl::OkStatus();
    return FromRpcStatus(reader->Finish());
  }
  absl::Status DownloadOnce(const std::string& name) {
    grpc::ClientContext context;
    v1::DownloadArtifactRequest request;
    request.set_name(name);
    const auto reader = quant_->DownloadArtifact(&context, request);
    v1::DownloadArtifactResponse response;
    while (reader->Read(&response)) {
    }
    return FromRpcStatus(reader->Finish());
  }
};

TEST_F(TenantTest, EachListsItsOwnJobs) {
  const std::string a = SubmittedBy("search");
  const std::string b = SubmittedBy("speech-2");
  const std::string c = SubmittedBy("search");
  const std::string d = Submitted();
  EXPECT_EQ(SplitJobName(a)->tenant, "search");
  EXPECT_THAT(ListedFor("tenants/search"), ElementsAre(c, a));
  EXPECT_THAT(ListedFor("tenants/speech-2"), ElementsAre(b));
  EXPECT_THAT(ListedFor("tenants/default"), ElementsAre(d));
  EXPECT_THAT(ListedFor(""), ElementsAre(d));
  EXPECT_THAT(ListedFor("tenants/nobody-yet"), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const auto job, Get(a));
  EXPECT_EQ(job.name(), a);
  Start();
  EXPECT_THAT(ListedFor("tenants/search"), ElementsAre(c, a));
}

TEST_F(TenantTest, JobOfAnotherTenantLooksLikeNone) {
  const std::string name = SubmittedBy("search");
  const std::string foreign = Renamed(name, "speech");
  const std::string absent = "tenants/speech/jobs/job-absent";
  for (const std::string& asked : {foreign, absent}) {
    const absl::Status statuses[] = {Get(asked).status(), Cancel(asked).status(), WatchOnce(asked),
                                     DownloadOnce(asked)};
    for (const absl::Status& status : statuses) {
      EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
      EXPECT_THAT(status, FailsWith("JOB_NOT_FOUND", "there is no job '" + asked + "'; list the jobs"));
    }
  }
  ASSERT_OK_AND_ASSIGN(const auto job, Get(name));
  EXPECT_EQ(job.state(), v1::QuantJob::QUEUED) << "a foreign cancel did nothing";
}

TEST_F(TenantTest, RequestIdsBelongToTheTenant) {
  ASSERT_OK_AND_ASSIGN(const auto first, Submit(RequestOf("search", kRequestId)));
  ASSERT_OK_AND_ASSIGN(const auto other, Submit(RequestOf("speech", kRequestId)));
  EXPECT_FALSE(other.duplicate());
  EXPECT_NE(other.job().name(), first.job().name());
  ASSERT_OK_AND_ASSIGN(const auto again, Submit(RequestOf("search", kRequestId)));
  EXPECT_TRUE(again.duplicate());
  EXPECT_EQ(again.job().name(), first.job().name());
}

TEST_F(TenantTest, PageTokensFitNoOtherTenant) {
  for (int i = 0; i < 2; ++i) {
    SubmittedBy("search");
    SubmittedBy("speech");
  }
  v1::ListQuantJobsRequest request;
  request.set_parent("tenants/search");
  request.set_page_size(1);
  ASSERT_OK_AND_ASSIGN(const auto page, List(request));
  request.set_page_token(page.next_page_token());
  EXPECT_OK(List(request));
  request.set_show_deleted(true);
  EXPECT_THAT(List(request), FailsWith("PAGE_TOKEN_INVALID", "begin again"));
  request.set_show_deleted(false);
  request.set_parent("tenants/speech");
  EXPECT_THAT(List(request), FailsWith("PAGE_TOKEN_INVALID", "begin again"));
}

TEST(ResourceNames, ParentsAndNames) {
  EXPECT_EQ(*ParseParent(""), "default");
  EXPECT_EQ(*ParseParent("tenants/a-1"), "a-1");
  for (const char* bad : {"tenants", "tenants/", "tenants/A", "tenants/a-", "tenants/1", "tenants/a/", "tenants/a/b",
                          "jobs/a", "tenants/../a", " tenants/a"}) {
    EXPECT_THAT(ParseParent(bad), FailsWith("PARENT_INVALID", bad)) << bad;
  }
  ASSERT_OK_AND_ASSIGN(const JobNameParts parts, ParseJobName("tenants/t/jobs/j"));
  EXPECT_EQ(parts.tenant, "t");
  EXPECT_EQ(parts.job, "j");
}

TEST(Actors, AreAddressesWithoutPorts) {
  EXPECT_EQ(ClientActor("ipv4:10.0.0.7:51234"), "client:10.0.0.7");
  EXPECT_EQ(ClientActor("ipv6:[::1]:51234"), "client:::1");
  EXPECT_EQ(ClientActor("ipv6:%5B::1%5D:51234"), "client:::1");
  EXPECT_EQ(ClientActor("ipv6:[fe80::1%25eth0]:51234"), "client:fe80::1%eth0");
  EXPECT_EQ(ClientActor("unix:"), "client:unix");
  EXPECT_EQ(ClientActor("unix:/run/quantd.sock"), "client:unix");
  EXPECT_EQ(ClientActor(""), "client:unknown");
}

}  // namespace
}  // namespace quantd
