// Unary calls: retries, errors with their details, names.
#include <google/protobuf/descriptor.h>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/channel.h"
#include "client/request_id.h"
#include "client/resource_name.h"
#include "client/rpc_status.h"
#include "client/server_list.h"
#include "core/base/json.h"
#include "tests/client/fake_service.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "not now");

TEST(Calls, UnavailableIsRetriedWithTheSameRequestId) {
  FakeServer server;
  server.service().failures = {kUnavailable, kUnavailable};
  ASSERT_OK_AND_ASSIGN(const v1::SubmitQuantJobResponse response, server.Client().Submit({}));
  EXPECT_EQ(response.job().state(), v1::QuantJob::QUEUED);
  const auto& submitted = server.service().submitted;
  ASSERT_EQ(submitted.size(), 3u);
  EXPECT_EQ(submitted[0].request_id().size(), 36u);
  EXPECT_EQ(submitted[1].request_id(), submitted[0].request_id());
  EXPECT_EQ(submitted[2].request_id(), submitted[0].request_id());
}

TEST(Calls, GivesUpAfterFiveAttempts) {
  FakeServer server;
  server.service().failures.assign(20, kUnavailable);
  EXPECT_THAT(server.Client().Get("j1"), FailsWith("SERVER_UNREACHABLE", server.address()));
  EXPECT_EQ(server.service().calls, kMaxCallAttempts);
}

TEST(Calls, OtherCodesAreNotRetried) {
  for (const auto code : {grpc::StatusCode::INTERNAL, grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::ABORTED,
                          grpc::StatusCode::DATA_LOSS}) {
    FakeServer server;
    server.service().failures.assign(20, RichError(code, "SOME_REASON", "no"));
    EXPECT_THAT(server.Client().Get("j1"), FailsWith("SOME_REASON", "no")) << code;
    EXPECT_EQ(server.service().calls, 1) << code;
  }
}

TEST(Calls, NobodyListeningIsUnreachable) {
  QuantdClient client({.server = "127.0.0.1:1"});
  const auto job = client.Get("j1");
  EXPECT_THAT(job, FailsWith("SERVER_UNREACHABLE", "127.0.0.1:1"));
  EXPECT_TRUE(absl::IsUnavailable(job.status()));
}

TEST(Calls, ErrorsKeepReasonFieldAndOrigin) {
  FakeServer server;
  server.service().failures = {RichError(grpc::StatusCode::INVALID_ARGUMENT, "RECIPE_UNKNOWN_PARAMETER",
                                         "unknown parameter 'bitz'", "spec.recipe.overrides.bitz")};
  const absl::Status status = server.Client().Submit({}).status();
  EXPECT_THAT(status, FailsWith("RECIPE_UNKNOWN_PARAMETER", "'bitz'"));
  EXPECT_EQ(FieldOf(status), "spec.recipe.overrides.bitz");
  EXPECT_TRUE(IsFromServer(status));
  EXPECT_FALSE(IsFromServer(ExpandJobName("Not A Name", "default").status()));
}

TEST(Calls, MalformedDetailsAreIgnored) {
  FakeServer server;
  server.service().failures = {grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xff\xfe not a message")};
  const absl::Status status = server.Client().Get("j1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(Calls, ListAllFollowsPagesUntilToldToStop) {
  FakeServer server;
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    const std::string name = absl::StrCat("tenants/default/jobs/", id);
    server.service().jobs[name] = JobAt(name, v1::QuantJob::QUEUED, 1);
  }
  QuantdClient client = server.Client();
  v1::ListQuantJobsRequest request;
  request.set_page_size(2);
  std::string ids;
  ASSERT_OK(client.ListAll(request, [&ids](const v1::QuantJob& job) {
    ids += JobId(job.name());
    return true;
  }));
  EXPECT_EQ(ids, "abcde");
  EXPECT_EQ(server.service().listed.size(), 3u);
  int seen = 0;
  ASSERT_OK(client.ListAll(request, [&seen](const v1::QuantJob&) { return ++seen < 2; }));
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(server.service().listed.size(), 4u);
}

TEST(Calls, JobMayBeGivenByIdAlone) {
  FakeServer server;
  server.service().jobs["tenants/default/jobs/j1"] = JobAt("tenants/default/jobs/j1", v1::QuantJob::RUNNING, 3);
  EXPECT_THAT(server.Client().Get("j1"), IsOk());
  EXPECT_THAT(server.Client().Get("tenants/default/jobs/j1"), IsOk());
  EXPECT_THAT(server.Client().Get("j2"), FailsWith("JOB_NOT_FOUND", "tenants/default/jobs/j2"));
}

TEST(Calls, TenantOfTheClientIsMeantWhereNobodyIsNamed) {
  FakeServer server;
  QuantdClient client({.server = server.address(), .tenant = "search"});
  ASSERT_OK_AND_ASSIGN(const v1::SubmitQuantJobResponse response, client.Submit({}));
  EXPECT_EQ(response.job().name(), "tenants/search/jobs/j1");
  EXPECT_OK(client.Get("j1"));
  EXPECT_OK(client.ListPage({}));
  EXPECT_EQ(server.service().listed.back().parent(), "tenants/search");
  v1::SubmitQuantJobRequest elsewhere;
  elsewhere.set_parent("tenants/speech");
  EXPECT_OK(client.Submit(elsewhere));
  EXPECT_EQ(server.service().submitted.back().parent(), "tenants/speech");
  QuantdClient nobody({.server = server.address(), .tenant = "No Tenant"});
  EXPECT_THAT(nobody.Submit({}), FailsWith("TENANT_INVALID", "No Tenant"));
  EXPECT_THAT(nobody.Get("j1"), FailsWith("TENANT_INVALID", "No Tenant"));
}

TEST(Calls, DeletedJobsCanBeTakenBack) {
  FakeServer server;
  const std::string name = "tenants/default/jobs/j1";
  server.service().jobs[name] = JobAt(name, v1::QuantJob::FAILED, 3);
  QuantdClient client = server.Client();
  server.service().failures = {kUnavailable};
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob deleted, client.Delete("j1"));
  EXPECT_TRUE(deleted.has_purge_time());
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob back, client.Undelete("j1"));
  EXPECT_FALSE(back.has_delete_time());
  ASSERT_OK_AND_ASSIGN(const auto records, client.AuditPage({}));
  EXPECT_EQ(records.records(0).job(), name);
}

TEST(ServerLists, NamesAndAddressesBecomeOneTarget) {
  EXPECT_FALSE(IsServerList("quant-1:7433"));
  EXPECT_TRUE(IsServerList("quant-1:7433,quant-2:7433"));
  EXPECT_EQ(TargetOfServerList("127.0.0.1:1, localhost:2,"), "ipv4:127.0.0.1:1,127.0.0.1:2");
  EXPECT_EQ(TargetOfServerList("[::1]:1,[::1]:2"), "ipv6:[::1]:1,[::1]:2");
  EXPECT_EQ(TargetOfServerList("no.such.host.invalid:1,127.0.0.1:2"), "ipv4:127.0.0.1:2");
  EXPECT_EQ(TargetOfServerList("no.such.host.invalid:1,nor.this.invalid:2"), "no.such.host.invalid:1");
  EXPECT_EQ(TargetOfServerList(","), ",");
}

// One of two servers is gone from the start, the other comes to its end on the way.
TEST(ServerLists, CallsGoToAServerThatAnswers) {
  auto first = std::make_unique<FakeServer>();
  FakeServer second;
  for (FakeService* service : {&first->service(), &second.service()}) {
    service->jobs["tenants/default/jobs/j1"] = JobAt("tenants/default/jobs/j1", v1::QuantJob::QUEUED, 1);
  }
  QuantdClient client({.server = absl::StrCat("127.0.0.1:1,", first->address(), ",", second.address())});
  for (int i = 0; i < 20; ++i) EXPECT_OK(client.Get("j1"));
  EXPECT_EQ(first->service().calls + second.service().calls, 20);
  const int before = second.service().calls;
  first.reset();
  for (int i = 0; i < 20; ++i) EXPECT_OK(client.Get("j1"));
  EXPECT_EQ(second.service().calls, before + 20);
}

TEST(ServiceConfig, IsJsonWithTheRetryPolicy) {
  for (const Servers servers : {Servers::kOne, Servers::kSeveral}) {
    ASSERT_OK_AND_ASSIGN(const Json config, ParseJson(RetryServiceConfig(servers), "service config"));
    const Json& policy = config.at("methodConfig").at(0).at("retryPolicy");
    EXPECT_EQ(policy.at("maxAttempts"), 5);
    EXPECT_EQ(policy.at("retryableStatusCodes"), Json::array({"UNAVAILABLE"}));
    EXPECT_TRUE(config.contains("retryThrottling"));
    EXPECT_EQ(config.contains("loadBalancingConfig"), servers == Servers::kSeveral);
  }
}

// A method that nobody put into the table would not be retried.
TEST(ServiceConfig, NamesEveryUnaryMethod) {
  const std::string config = RetryServiceConfig();
  const google::protobuf::ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName("quantd.v1.QuantService");
  ASSERT_NE(service, nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service->method(i);
    const bool named = absl::StrContains(config, absl::StrCat("\"", method.name(), "\""));
    EXPECT_EQ(named, !method.server_streaming()) << method.name();
  }
}

TEST(JobNames, TableOfNames) {
  const struct {
    std::string given;
    bool is_name;
  } kRows[] = {{"a", true},
               {"job-1", true},
               {std::string(63, 'a'), true},
               {std::string(64, 'a'), false},
               {"", false},
               {"1a", false},
               {"a-", false},
               {"A", false},
               {"a b", false},
               {"a/b", false},
               {"tenants/t1/jobs/a", true},
               {"tenants/t1/jobs/", false},
               {"tenants/t1/artifacts/a", false},
               {"tenants/../jobs/a", false},
               {"tenants/t1/jobs/a/b", false}};
  for (const auto& row : kRows) EXPECT_EQ(ExpandJobName(row.given, "t1").ok(), row.is_name) << row.given;
  EXPECT_THAT(*ExpandJobName("job-1", "search"), "tenants/search/jobs/job-1");
  EXPECT_THAT(*ExpandJobName("tenants/t2/jobs/job-1", "search"), "tenants/t2/jobs/job-1");
  EXPECT_THAT(ExpandJobName("job-1", "No Tenant"), FailsWith("TENANT_INVALID", "No Tenant"));
  EXPECT_EQ(JobId("tenants/search/jobs/job-1"), "job-1");
}

TEST(RequestIds, AreFreshVersion4Uuids) {
  const std::string id = NewRequestId();
  EXPECT_THAT(id, testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_NE(id, NewRequestId());
}

}  // namespace
}  // namespace quantd
