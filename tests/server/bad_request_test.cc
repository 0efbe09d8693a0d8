// Calls that cannot be answered, apart from specs (bad_spec_test.cc): names, parents, ids, uploads, and a planner or a
// machine that says no.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using absl::StatusCode;

class BadRequestTest : public DaemonTest {
 protected:
  static void ExpectError(const absl::Status& status, StatusCode code, absl::string_view reason,
                          absl::string_view field) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(ReasonOf(status), reason) << status;
    EXPECT_EQ(FieldOf(status), field) << status;
  }
  void ExpectAlive() {
    EXPECT_OK(List({}));
    EXPECT_OK(Submit(GoodRequest()));
  }
};

TEST_F(BadRequestTest, NamesOfJobs) {
  const std::string id63(63, 'a');
  struct Row {
    std::string name;
    StatusCode code;
    const char* reason;
    const char* field;
  };
  const Row rows[] = {
      {"", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"job-a", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/A", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/1a", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/a-", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/../x", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/a' OR 1=1", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/a/b", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants//jobs/a", StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/a" + id63, StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {std::string(1 << 20, 'x'), StatusCode::kInvalidArgument, "NAME_INVALID", "name"},
      {"tenants/default/jobs/" + id63, StatusCode::kNotFound, "JOB_NOT_FOUND", ""},
      {"tenants/other/jobs/a", StatusCode::kNotFound, "JOB_NOT_FOUND", ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name.substr(0, 80));
    ExpectError(Get(row.name).status(), row.code, row.reason, row.field);
    ExpectError(Cancel(row.name).status(), row.code, row.reason, row.field);
  }
  ExpectAlive();
}

TEST_F(BadRequestTest, ParentsAndRequestIds) {
  struct Row {
    const char* parent;
    const char* request_id;
    StatusCode code;
    const char* reason;
    const char* field;
  };
  const Row rows[] = {
      {"tenants/Other", "", StatusCode::kInvalidArgument, "PARENT_INVALID", "parent"},
      {"tenants/other/jobs/a", "", StatusCode::kInvalidArgument, "PARENT_INVALID", "parent"},
      {"tenants/default/", "", StatusCode::kInvalidArgument, "PARENT_INVALID", "parent"},
      {"default", "", StatusCode::kInvalidArgument, "PARENT_INVALID", "parent"},
      {"", "1", StatusCode::kInvalidArgument, "REQUEST_ID_INVALID", "request_id"},
      {"", "123e4567e89b42d3a456426614174000", StatusCode::kInvalidArgument, "REQUEST_ID_INVALID", "request_id"},
      {"", "123e4567-e89b-42d3-a456-42661417400g", StatusCode::kInvalidArgument, "REQUEST_ID_INVALID", "request_id"},
      {"", "{23e4567-e89b-42d3-a456-42661417400}", StatusCode::kInvalidArgument, "REQUEST_ID_INVALID", "request_id"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(absl::StrCat(row.parent, " ", row.request_id));
    v1::SubmitQuantJobRequest request = GoodRequest(row.request_id);
    request.set_parent(row.parent);
    ExpectError(Submit(request).status(), row.code, row.reason, row.field);
  }
  ExpectAlive();
}

TEST_F(BadRequestTest, MessagesBeyondTheLimitAreRefusedByTheTransport) {
  v1::GetQuantJobRequest request;
  request.set_name(std::string(17 << 20, 'x'));
  grpc::ClientContext context;
  v1::QuantJob job;
  EXPECT_EQ(quant_->GetQuantJob(&context, request, &job).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  ExpectAlive();
}

// What `quant plan` finds wrong comes to the user as it said it; its own troubles are no fault of the request.
TEST_F(BadRequestTest, PlannersThatRefuseOrBreak) {
  const auto signalled = [] {
    CommandResult result;
    result.exit_code = -1;
    result.signal = 11;
    result.errors = "parsing config.json";
    return result;
  };
  const auto timed_out = [] {
    CommandResult result;
    result.timed_out = true;
    return result;
  };
  const auto refusal = [](const char* code, const char* reason, const char* field) {
    return FakeQuant::Prints(absl::StrCat(R"({"error": {"code": ")", code, R"(", "reason": ")", reason,
                                          R"(", "message": "because", "field": ")", field, R"("}})"),
                             1);
  };
  struct Row {
    CommandResult result;
    StatusCode code;
    const char* reason;
    const char* field;
  };
  const Row rows[] = {
      {refusal("INVALID_ARGUMENT", "RECIPE_UNKNOWN", "recipe.preset"), StatusCode::kInvalidArgument, "RECIPE_UNKNOWN",
       "spec.recipe.preset"},
      {refusal("INVALID_ARGUMENT", "RULE_MATCHES_NOTHING", "spec.recipe.rules[0].pattern"),
       StatusCode::kInvalidArgument, "RULE_MATCHES_NOTHING", "spec.recipe.rules[0].pattern"},
      {refusal("INVALID_ARGUMENT", "MODEL_FILE_MALFORMED", ""), StatusCode::kInvalidArgument, "MODEL_FILE_MALFORMED",
       ""},
      {refusal("FAILED_PRECONDITION", "TARGET_CANNOT_HOLD", "exports"), StatusCode::kFailedPrecondition,
       "TARGET_CANNOT_HOLD", "spec.exports"},
      {signalled(), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
      {timed_out(), StatusCode::kDeadlineExceeded, "PLAN_TIMED_OUT", ""},
      {FakeQuant::Prints(""), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
      {FakeQuant::Prints("{\"artifact_bytes\": \"many\"}"), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
      {FakeQuant::Prints("[]", 1), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
      {FakeQuant::Prints("{\"error\": 3}", 1), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
      {FakeQuant::Prints("{\"error\": {\"code\": 7}}", 1), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
      {FakeQuant::Prints("Segmentation fault", 139), StatusCode::kUnavailable, "PLANNER_FAILED", ""},
  };
  const auto good_plan = quant_program_.plan;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.result.output);
    quant_program_.plan = [&](absl::Duration) { return row.result; };
    ExpectError(Submit(GoodRequest()).status(), row.code, row.reason, row.field);
  }
  quant_program_.plan = good_plan;
  ExpectAlive();
}

TEST_F(BadRequestTest, JobsThatThisMachineCannotHoldOrRun) {
  quant_program_.plan = [](absl::Duration) { return FakeQuant::Prints(R"({"artifact_bytes": "1000000000000000"})"); };
  ExpectError(Submit(GoodRequest()).status(), StatusCode::kResourceExhausted, "DISK_FULL", "");
  quant_program_.plan = [](absl::Duration) { return FakeQuant::Prints("{}"); };
  v1::SubmitQuantJobRequest for_gpu = GoodRequest();
  for_gpu.mutable_spec()->set_device("cuda");
  EXPECT_OK(Submit(for_gpu)) << "no worker is connected yet: one may come";
  v1::SynchronizeRequest cpu_worker;
  cpu_worker.set_worker_id("w");
  cpu_worker.set_incarnation("first");
  cpu_worker.mutable_capabilities()->add_devices("cpu");
  EXPECT_OK(Synchronize(cpu_worker));
  const absl::Status status = Submit(for_gpu).status();
  ExpectError(status, StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE", "spec.device");
  EXPECT_THAT(status, FailsWith("DEVICE_UNAVAILABLE", "they have: cpu"));
}

TEST_F(BadRequestTest, CallsOfWorkers) {
  struct Row {
    const char* field;
    std::function<void(v1::SynchronizeRequest&)> spoil;
  };
  const Row rows[] = {
      {"worker_id", [](auto& r) { r.clear_worker_id(); }},
      {"worker_id", [](auto& r) { r.set_worker_id(std::string(129, 'w')); }},
      {"incarnation", [](auto& r) { r.clear_incarnation(); }},
      {"slots", [](auto& r) { r.set_slots(-1); }},
      {"slots", [](auto& r) { r.set_slots(1025); }},
      {"poll_ms", [](auto& r) { r.set_poll_ms(-1); }},
      {"capabilities.devices",
       [](auto& r) {
         for (int i = 0; i < 17; ++i) r.mutable_capabilities()->add_devices("cpu");
       }},
      {"capabilities.devices", [](auto& r) { r.mutable_capabilities()->add_devices(std::string(65, 'd')); }},
      {"running",
       [](auto& r) {
         for (int i = 0; i < 1025; ++i) r.add_running();
       }},
  };
  for (const Row& row : rows) {
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    row.spoil(request);
    ExpectError(Synchronize(request).status(), StatusCode::kInvalidArgument, "SYNCHRONIZE_INVALID", row.field);
  }
  ExpectAlive();
}

}  // namespace
}  // namespace quantd
