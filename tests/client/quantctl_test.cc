// The binary itself, as a shell sees it: exit codes, streams, JSON.
#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "tests/client/fake_service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::HasSubstr;

constexpr char kName[] = "tenants/default/jobs/j1";

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

std::string Read(const std::string& path) {
  return RealFileSystem().ReadFile(path, 16 << 20).value_or("(absent)");
}

class QuantctlTest : public testing::Test {
 protected:
  QuantctlTest() : folder_(MakeTempDir()) {}

  // `arguments` as a shell would read them.
  Outcome Run(const std::string& arguments) {
    const std::string command = absl::StrCat("QUANTD_SERVER=", server_.address(), " '", BinaryPath("quantctl"), "' ",
                                             arguments, " >'", folder_, "/out' 2>'", folder_, "/err'");
    const int status = std::system(command.c_str());
    return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .out = Read(JoinPath(folder_, "out")),
            .err = Read(JoinPath(folder_, "err"))};
  }
  FakeService& service() { return server_.service(); }

  FakeServer server_;
  std::string folder_;
};

#define SKIP_WITHOUT_QUANTCTL() \
  if (!RealFileSystem().Exists(BinaryPath("quantctl"))) GTEST_SKIP() << "SKIPPED: build the target quantctl first"

TEST_F(QuantctlTest, SubmitPrintsTheName) {
  SKIP_WITHOUT_QUANTCTL();
  const Outcome outcome =
      Run("submit --model tiny --recipe gptq --set bits=3 group_size=64 --rule '*.a:bits=8' "
          "--calibration c.txt --label team=search --request-id id-1");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "tenants/default/jobs/j1\n");
  EXPECT_THAT(outcome.err, HasSubstr("quantctl watch j1"));
  ASSERT_EQ(service().submitted.size(), 1u);
  const v1::SubmitQuantJobRequest& request = service().submitted[0];
  EXPECT_EQ(request.request_id(), "id-1");
  EXPECT_EQ(request.spec().recipe().overrides().fields_size(), 2);
  EXPECT_EQ(request.spec().recipe().rules(0).pattern(), "*.a");
}

TEST_F(QuantctlTest, SubmitTellsTenantAndLimits) {
  SKIP_WITHOUT_QUANTCTL();
  const Outcome outcome =
      Run("submit --model tiny --recipe rtn --tenant search --priority -7 --queue-timeout 1h30m --run-timeout 1500ms "
          "--max-attempts 5");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "tenants/search/jobs/j1\n");
  ASSERT_EQ(service().submitted.size(), 1u);
  const v1::QuantJobSpec& spec = service().submitted[0].spec();
  EXPECT_EQ(spec.priority(), -7);
  EXPECT_EQ(spec.queue_timeout_ms(), 5'400'000);
  EXPECT_EQ(spec.run_timeout_ms(), 1500);
  EXPECT_EQ(spec.max_attempts(), 5);
}

TEST_F(QuantctlTest, TenantMayComeFromTheEnvironment) {
  SKIP_WITHOUT_QUANTCTL();
  ASSERT_EQ(setenv("QUANTD_TENANT", "speech", 1), 0);
  EXPECT_EQ(Run("submit --model tiny --recipe rtn").out, "tenants/speech/jobs/j1\n");
  EXPECT_EQ(Run("submit --model tiny --recipe rtn --tenant search").out, "tenants/search/jobs/j2\n");
  unsetenv("QUANTD_TENANT");
}

TEST_F(QuantctlTest, DeleteUndeleteAndAudit) {
  SKIP_WITHOUT_QUANTCTL();
  service().jobs[kName] = JobAt(kName, v1::QuantJob::FAILED, 3);
  EXPECT_THAT(Run("delete j1").out, HasSubstr("until 2023-11-15 22:13:20"));
  EXPECT_THAT(Run("list --show-deleted").out, HasSubstr("deleted, removed after 2023-11-15"));
  EXPECT_TRUE(service().listed.back().show_deleted());
  EXPECT_THAT(Run("undelete j1").out, HasSubstr("is back"));
  const Outcome audit = Run("audit j1");
  EXPECT_EQ(audit.exit_code, 0) << audit.err;
  EXPECT_THAT(audit.out, HasSubstr("2023-11-14 22:13:20  j1   submit  client:10.0.0.7"));
  EXPECT_THAT(Run("audit j9").err, HasSubstr("no records"));
}

TEST_F(QuantctlTest, SubmitWaitEndsWithTheFigures) {
  SKIP_WITHOUT_QUANTCTL();
  service().report.mutable_size()->set_bits_per_weight(4.25);
  service().watches = {{.jobs = {JobAt(kName, v1::QuantJob::RUNNING, 2), JobAt(kName, v1::QuantJob::SUCCEEDED, 3)}}};
  const Outcome outcome = Run("submit --model tiny --recipe rtn --wait");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("bits per weight  4.250"));
  EXPECT_THAT(outcome.err, HasSubstr("SUCCEEDED"));
}

TEST_F(QuantctlTest, WatchTellsHowTheJobEnded) {
  SKIP_WITHOUT_QUANTCTL();
  const struct {
    v1::QuantJob::State state;
    int exit_code;
  } kRows[] = {{v1::QuantJob::SUCCEEDED, 0},
               {v1::QuantJob::FAILED, 1},
               {v1::QuantJob::CANCELLED, 6},
               {v1::QuantJob::REJECTED, 7}};
  for (const auto& row : kRows) {
    service().watches = {{.jobs = {JobAt(kName, row.state, 3)}}};
    EXPECT_EQ(Run("watch j1").exit_code, row.exit_code) << v1::QuantJob::State_Name(row.state);
  }
}

TEST_F(QuantctlTest, JsonOnStdoutIsWhole) {
  SKIP_WITHOUT_QUANTCTL();
  service().jobs[kName] = JobAt(kName, v1::QuantJob::RUNNING, 3);
  service().watches = {{.jobs = {JobAt(kName, v1::QuantJob::SUCCEEDED, 3)}}};
  for (const char* arguments :
       {"get j1 --json", "list --json", "audit --json", "delete j1 --json", "undelete j1 --json", "--json cancel j1",
        "report j1 --json", "recipes --json", "watch j1 --json", "submit --json --model m --recipe r",
        "submit --json --model m --recipe r --validate-only"}) {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << arguments << "\n" << outcome.err;
    EXPECT_THAT(ParseJson(outcome.out, arguments), IsOk()) << outcome.out;
  }
  const auto job = ParseJson(Run("get j1 --json").out, "job");
  ASSERT_OK(job);
  EXPECT_EQ(job->at("state"), "QUEUED") << "submit replaced it";
  EXPECT_EQ(job->at("attempt"), 0) << "plain fields are always there";
  const auto list = ParseJson(Run("list --json").out, "list");
  ASSERT_OK(list);
  EXPECT_EQ(list->at("jobs")[0]["name"], kName);
}

TEST_F(QuantctlTest, ListShowsOnePageOrAll) {
  SKIP_WITHOUT_QUANTCTL();
  for (const char* id : {"a", "b", "c"}) {
    const std::string name = absl::StrCat("tenants/default/jobs/", id);
    service().jobs[name] = JobAt(name, v1::QuantJob::QUEUED, 1);
  }
  const Outcome page = Run("list --page-size 2 --ids --state queued --recipe gptq");
  EXPECT_EQ(page.out, "a\nb\n");
  EXPECT_THAT(page.err, HasSubstr("--all"));
  EXPECT_EQ(service().listed.back().filter(), "state = QUEUED AND recipe = \"gptq\"");
  EXPECT_EQ(Run("list --page-size 2 --ids --all").out, "a\nb\nc\n");
}

TEST_F(QuantctlTest, DownloadAndHtmlReport) {
  SKIP_WITHOUT_QUANTCTL();
  service().contents = {{"report.html", "<html>"}, {"model.safetensors", "weights"}};
  service().AddFinishedJob(kName);
  const std::string out = JoinPath(folder_, "artifact");
  const Outcome outcome = Run(absl::StrCat("download j1 --out '", out, "'"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(Read(JoinPath(out, "model.safetensors")), "weights");
  EXPECT_EQ(Run(absl::StrCat("report j1 --html '", folder_, "/r.html'")).exit_code, 0);
  EXPECT_EQ(Read(JoinPath(folder_, "r.html")), "<html>");
  service().damage_downloads = true;
  EXPECT_EQ(Run(absl::StrCat("download j1 --out '", out, "2'")).exit_code, 11);
  EXPECT_EQ(Run("download j1 --out /dev/null/x").exit_code, 10);
}

struct BadCall {
  const char* arguments;
  int exit_code;
  const char* mentions;
};
constexpr BadCall kBadCalls[] = {
    {"", 2, "subcommand"},
    {"frobnicate", 2, "--help"},
    {"get", 2, "job"},
    {"get 'No Such Name'", 2, "JOB_NAME_INVALID"},
    {"list --state SOMETIMES", 2, "SOMETIMES"},
    {"list --page-size 0", 2, "page-size"},
    {"list --page-size many", 2, "many"},
    {"list --timeout 0", 2, "timeout"},
    {"download j1", 2, "--out"},
    {"completion fish", 2, "fish"},
    {"submit --recipe gptq", 2, "--model"},
    {"submit --model m --recipe gptq --set bits", 2, "'bits'"},
    {"submit --model m --recipe gptq --seed -1", 2, "seed"},
    {"submit --model m --recipe gptq --priority 101", 2, "101"},
    {"submit --model m --recipe gptq --max-attempts 0", 2, "max-attempts"},
    {"submit --model m --recipe gptq --queue-timeout 30", 2, "30m"},
    {"submit --model m --recipe gptq --run-timeout -1s", 2, "--run-timeout"},
    {"submit --model m --recipe gptq --tenant Search", 2, "TENANT_INVALID"},
    {"delete", 2, "job"},
    {"undelete 'No Such Name'", 2, "JOB_NAME_INVALID"},
    {"delete j9", 4, "JOB_NOT_FOUND"},
    {"submit --job /nonexistent/job.json", 10, "/nonexistent/job.json"},
    {"get j9", 4, "JOB_NOT_FOUND"},
    {"recipes nonsense", 4, "RECIPE_UNKNOWN"},
    {"get j9 --server 127.0.0.1:1", 5, "QUANTD_SERVER"},
};

TEST_F(QuantctlTest, BadCallsHaveTheirExitCodeAndSayWhy) {
  SKIP_WITHOUT_QUANTCTL();
  for (const BadCall& row : kBadCalls) {
    const Outcome outcome = Run(row.arguments);
    EXPECT_EQ(outcome.exit_code, row.exit_code) << row.arguments;
    EXPECT_THAT(outcome.err, HasSubstr(row.mentions)) << row.arguments;
    EXPECT_EQ(outcome.out, "") << row.arguments;
  }
  EXPECT_TRUE(service().submitted.empty());
}

TEST_F(QuantctlTest, ServerErrorsHaveTheirExitCode) {
  SKIP_WITHOUT_QUANTCTL();
  const struct {
    grpc::StatusCode code;
    int exit_code;
  } kRows[] = {{grpc::StatusCode::INVALID_ARGUMENT, 3},   {grpc::StatusCode::NOT_FOUND, 4},
               {grpc::StatusCode::ALREADY_EXISTS, 8},     {grpc::StatusCode::FAILED_PRECONDITION, 8},
               {grpc::StatusCode::RESOURCE_EXHAUSTED, 9}, {grpc::StatusCode::INTERNAL, 11}};
  for (const auto& row : kRows) {
    service().failures = {RichError(row.code, "SOME_REASON", "what is wrong", "spec.model")};
    const Outcome outcome = Run("submit --model m --recipe r --json");
    EXPECT_EQ(outcome.exit_code, row.exit_code);
    const auto error = ParseJson(outcome.err, "stderr");
    ASSERT_OK(error);
    EXPECT_EQ(error->at("error")["reason"], "SOME_REASON");
    EXPECT_EQ(error->at("error")["field"], "spec.model");
  }
}

TEST_F(QuantctlTest, EveryCommandHasHelpWithExamples) {
  SKIP_WITHOUT_QUANTCTL();
  const std::string help = Run("--help").out;
  EXPECT_THAT(help, HasSubstr("Exit codes:"));
  for (const char* command : {"submit", "watch", "get", "list", "cancel", "delete", "undelete", "audit", "report",
                              "download", "recipes", "completion"}) {
    EXPECT_THAT(help, HasSubstr(absl::StrCat("\n  ", command, " ")));
    const Outcome outcome = Run(absl::StrCat(command, " --help"));
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  "));
    EXPECT_THAT(outcome.out, HasSubstr(absl::StrCat("quantctl ", command)));
  }
}

// A shell runs the script and asks it what may follow.
TEST_F(QuantctlTest, BashCompletionOffersWhatFits) {
  SKIP_WITHOUT_QUANTCTL();
  const Outcome script = Run("completion bash");
  ASSERT_EQ(script.exit_code, 0);
  const struct {
    const char* words;
    const char* expected;
  } kRows[] = {
      {"quantctl su", "submit"}, {"quantctl submit --cal", "--calibration"}, {"quantctl list --state REJ", "REJECTED"}};
  for (const auto& row : kRows) {
    const std::string command = absl::StrCat("bash -c 'source \"$0\"; COMP_WORDS=(", row.words,
                                             "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _quantctl; ",
                                             "[ \"${COMPREPLY[*]}\" = ", row.expected, " ]' '", folder_, "/out'");
    EXPECT_EQ(std::system(command.c_str()), 0) << row.words;
  }
}

}  // namespace
}  // namespace quantd
