// /metrics, /livez and /readyz of a daemon that works, and whether the metrics tell the truth.
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/store/job_record.h"
#include "server/store/sqlite_connection.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/http_get.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

class ScrapeTest : public DaemonTest {
 protected:
  std::map<std::string, double> Scrape() {
    const HttpAnswer answer = HttpCall(daemon_->http_address(), "GET /metrics");
    EXPECT_EQ(answer.code, 200);
    return ParseMetrics(answer.body);
  }
  static double Sum(const std::map<std::string, double>& all, const std::string& name, const std::string& label = "") {
    double sum = 0;
    for (const auto& [series, value] : all) {
      if (absl::StartsWith(series, name + "{") && absl::StrContains(series, label)) sum += value;
    }
    return sum;
  }
  // Rows of the jobs table, by a reader of its own.
  int64_t JobsInDatabase(const std::string& where) {
    auto connection = SqliteConnection::Open(config_.data_dir + "/quantd.db", /*read_only=*/true);
    EXPECT_OK(connection);
    const auto query = (*connection)->PrepareOnce(absl::StrCat("SELECT COUNT(*) FROM jobs WHERE ", where));
    EXPECT_OK(query->Step());
    return query->Int(0);
  }
  void ExpectTheTruth() {
    const auto all = Scrape();
    const double accepted = Sum(all, "quantd_jobs_submitted_total", "outcome=\"accepted\"");
    EXPECT_EQ(accepted, Sum(all, "quantd_jobs"));
    EXPECT_EQ(accepted, JobsInDatabase("state = 1") + JobsInDatabase("state IN (2, 3)") + JobsInDatabase("state > 3"));
    EXPECT_EQ(all.at("quantd_jobs{state=\"queued\"}"), JobsInDatabase("state = 1"));
    EXPECT_EQ(all.at("quantd_jobs{state=\"running\"}"), JobsInDatabase("state = 2"));
    EXPECT_EQ(Sum(all, "quantd_jobs_waiting"), JobsInDatabase("state = 1"));
    EXPECT_EQ(Sum(all, "quantd_jobs_finished_total"), JobsInDatabase("state > 3"));
  }
  void End(const v1::Assignment& job, v1::FinishedJob::Outcome outcome) {
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    request.add_finished()->set_job(job.job());
    request.mutable_finished(0)->set_fence(job.fence());
    request.mutable_finished(0)->set_outcome(outcome);
    EXPECT_OK(Synchronize(request));
  }
};

TEST_F(ScrapeTest, SubmittedIsQueuedPlusRunningPlusTerminalAtEveryStep) {
  ExpectTheTruth();
  for (const char* preset : {"gptq", "rtn", "gptq", "gptq", "rtn"}) Submitted(preset);
  ExpectTheTruth();
  Succeed(TakeJob(), SmallArtifact());
  ExpectTheTruth();
  End(TakeJob(), v1::FinishedJob::OUTCOME_FAILED);
  ExpectTheTruth();
  const v1::Assignment cancelled = TakeJob();
  ASSERT_OK(Cancel(JobName(kDefaultTenant, cancelled.job())));
  ExpectTheTruth();
  End(cancelled, v1::FinishedJob::OUTCOME_CANCELLED);
  ExpectTheTruth();
  End(TakeJob(), v1::FinishedJob::OUTCOME_RETURNED);
  ExpectTheTruth();
  TakeJob();
  ASSERT_OK(Cancel(Submitted()));
  v1::SubmitQuantJobRequest bad = GoodRequest();
  bad.mutable_spec()->clear_model();
  EXPECT_FALSE(Submit(bad).ok());
  for (int i = 0; i < 2; ++i) ASSERT_OK(Submit(GoodRequest("123e4567-e89b-42d3-a456-426614174000")));
  ExpectTheTruth();

  const auto all = Scrape();
  EXPECT_EQ(all.at("quantd_jobs_submitted_total{outcome=\"accepted\",preset=\"gptq\"}"), 5);
  EXPECT_EQ(all.at("quantd_jobs_submitted_total{outcome=\"duplicate\",preset=\"gptq\"}"), 1);
  EXPECT_EQ(all.at("quantd_jobs_submitted_total{outcome=\"invalid\",preset=\"gptq\"}"), 1);
  for (const auto& [result, count] :
       std::map<std::string, int>{{"finished", 1}, {"failed", 1}, {"cancelled", 1}, {"returned", 1}, {"expired", 0}}) {
    EXPECT_EQ(all.at(absl::StrCat("quantd_job_attempts_total{result=\"", result, "\"}")), count) << result;
  }
  EXPECT_EQ(all.at("quantd_job_queue_seconds_count{device=\"auto\"}"), 4) << "first starts only";
  EXPECT_EQ(all.at("quantd_artifact_bytes_total{direction=\"received\"}"),
            static_cast<double>(SmallArtifact().contents[0].size() + SmallArtifact().contents[1].size()));
  EXPECT_EQ(all.at("grpc_server_handled_total{code=\"INVALID_ARGUMENT\",method=\"SubmitQuantJob\"}"), 1);
  EXPECT_EQ(all.at("grpc_server_handled_total{code=\"OK\",method=\"UploadArtifact\"}"), 2);
  EXPECT_GT(all.at("quantd_disk_free_bytes"), 0);
}

TEST_F(ScrapeTest, ScrapeIsWhatPrometheusExpects) {
  if (std::system("command -v promtool >/dev/null") != 0) {
    GTEST_SKIP() << "SKIPPED: promtool is not on the PATH (Debian package prometheus, see scripts/install-deps)";
  }
  Submitted();
  Succeed(TakeJob(), SmallArtifact());
  const HttpAnswer answer = HttpCall(daemon_->http_address(), "GET /metrics");
  EXPECT_THAT(answer.head, testing::HasSubstr("text/plain; version=0.0.4"));
  const std::string scrape = directory_ + "/scrape";
  ASSERT_OK(WriteFileDurably(RealFileSystem(), scrape, answer.body));
  const std::string command = absl::StrCat("promtool check metrics <", scrape, " >", scrape, ".out 2>&1");
  const int status = std::system(command.c_str());
  ASSERT_OK_AND_ASSIGN(const std::string output, RealFileSystem().ReadFile(scrape + ".out", 1 << 20));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << output;
  EXPECT_EQ(output, "") << "not even a warning";
}

TEST_F(ScrapeTest, ProbesAnswer) {
  const std::string http = daemon_->http_address();
  EXPECT_EQ(HttpCall(http, "GET /livez").code, 200);
  EXPECT_EQ(HttpCall(http, "GET /readyz").code, 200);
  EXPECT_EQ(HttpCall(http, "GET /").code, 404);
  EXPECT_EQ(HttpCall(http, "GET /metrics/../../quantd.db").code, 404);
  const HttpAnswer head = HttpCall(http, "HEAD /livez");
  EXPECT_EQ(head.code, 200);
  EXPECT_EQ(head.body, "");
}

TEST_F(ScrapeTest, WhileDrainingItIsAliveButNotReadyAndStillServes) {
  const std::string name = Submitted();
  bool waited = false;
  daemon_->Shutdown([&](absl::Duration) {
    waited = true;
    const HttpAnswer ready = HttpCall(daemon_->http_address(), "GET /readyz");
    EXPECT_EQ(ready.code, 503);
    EXPECT_THAT(ready.body, testing::HasSubstr("NOT_SERVING"));
    EXPECT_EQ(HttpCall(daemon_->http_address(), "GET /livez").code, 200);
    EXPECT_OK(Get(name));
    EXPECT_OK(Submit(GoodRequest())) << "the drain delay is for clients that have not heard of it yet";
  });
  EXPECT_TRUE(waited);
}

TEST_F(ScrapeTest, QueueAndWorkersShow) {
  v1::SubmitQuantJobRequest request = GoodRequest();
  request.mutable_spec()->set_device("cuda");
  ASSERT_OK(Submit(request));
  const double submitted = absl::ToDoubleSeconds(clock_.Now() - absl::UnixEpoch());
  clock_.Advance(absl::Minutes(1));
  v1::SynchronizeRequest idle;
  idle.set_worker_id("w");
  idle.set_incarnation("first");
  idle.set_slots(3);
  ASSERT_OK(Synchronize(idle));
  auto all = Scrape();
  EXPECT_EQ(all["quantd_jobs_waiting{device=\"cuda\"}"], 1);
  EXPECT_EQ(all["quantd_oldest_queued_timestamp_seconds"], submitted);
  EXPECT_EQ(all["quantd_worker_slots{state=\"idle\"}"], 3);
  EXPECT_EQ(all["quantd_worker_last_heartbeat_timestamp_seconds"], submitted + 60);
  EXPECT_EQ(all["quantd_store_writable"], 1);
}

}  // namespace
}  // namespace quantd
