// SubmitQuantJob: one job for one request_id, and nothing queued by a check.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "core/base/fail_point.h"
#include "core/base/file_system.h"
#include "server/api/recent_checks.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kRequestId[] = "123e4567-e89b-42d3-a456-426614174000";

class SubmitTest : public DaemonTest {
 protected:
  size_t CountJobs() {
    const auto jobs = List({});
    EXPECT_OK(jobs);
    return jobs.ok() ? static_cast<size_t>(jobs->jobs_size()) : 0;
  }
};

TEST_F(SubmitTest, AcceptedJobIsQueuedAsItWasAskedFor) {
  v1::SubmitQuantJobRequest request = GoodRequest();
  request.set_parent("tenants/default");
  (*request.mutable_spec()->mutable_labels())["team"] = "speech";
  ASSERT_OK_AND_ASSIGN(const auto response, Submit(request));
  EXPECT_EQ(response.job().state(), v1::QuantJob::QUEUED);
  EXPECT_EQ(response.job().spec().SerializeAsString(), request.spec().SerializeAsString());
  EXPECT_EQ(response.job().create_time().seconds(), absl::ToUnixSeconds(clock_.Now()));
  EXPECT_EQ(response.estimate().artifact_bytes(), 1000);
  EXPECT_FALSE(response.duplicate());
  ASSERT_OK_AND_ASSIGN(const auto stored, Get(response.job().name()));
  EXPECT_EQ(stored.SerializeAsString(), response.job().SerializeAsString());
}

TEST_F(SubmitTest, SameRequestIdAndSpecIsTheSameJob) {
  ASSERT_OK_AND_ASSIGN(const auto first, Submit(GoodRequest(kRequestId)));
  ASSERT_OK_AND_ASSIGN(const auto second, Submit(GoodRequest(kRequestId)));
  EXPECT_FALSE(first.duplicate());
  EXPECT_TRUE(second.duplicate());
  EXPECT_EQ(second.job().name(), first.job().name());
  EXPECT_EQ(CountJobs(), 1);
}

TEST_F(SubmitTest, SameRequestIdIsAnsweredWhateverHappenedSince) {
  ASSERT_OK_AND_ASSIGN(const auto first, Submit(GoodRequest(kRequestId)));
  const auto again = [&]() -> std::string {
    const auto response = Submit(GoodRequest(kRequestId));
    EXPECT_OK(response);
    return response.ok() && response->duplicate() ? response->job().name() : "";
  };
  ASSERT_OK(RealFileSystem().RemoveAll(config_.model_root + "/m"));
  EXPECT_EQ(again(), first.job().name()) << "the model has been moved away";
  ASSERT_OK(Cancel(first.job().name()));
  EXPECT_EQ(again(), first.job().name()) << "the job has ended";
  Start();
  EXPECT_EQ(again(), first.job().name()) << "the server was restarted";
  ASSERT_OK(RealFileSystem().CreateDirectories(config_.model_root + "/m"));
  const std::string other = Submitted();
  Succeed(TakeJob(), SmallArtifact());
  ASSERT_OK_AND_ASSIGN(const auto succeeded, Get(other));
  EXPECT_EQ(succeeded.state(), v1::QuantJob::SUCCEEDED);
  clock_.Advance(absl::Hours(7 * 24));
  EXPECT_EQ(again(), first.job().name()) << "a week has passed";
}

TEST_F(SubmitTest, SameRequestIdWithAnotherSpecNamesTheDifference) {
  ASSERT_OK(Submit(GoodRequest(kRequestId)));
  struct Row {
    const char* field;
    std::function<void(v1::QuantJobSpec&)> change;
  };
  const Row rows[] = {
      {"spec.model", [](v1::QuantJobSpec& spec) { spec.set_model("n"); }},
      {"spec.recipe", [](v1::QuantJobSpec& spec) { spec.mutable_recipe()->set_preset("rtn"); }},
      {"spec.calibration", [](v1::QuantJobSpec& spec) { spec.mutable_calibration()->set_seed(1); }},
      {"spec.evaluation", [](v1::QuantJobSpec& spec) { spec.clear_evaluation(); }},
      {"spec.exports", [](v1::QuantJobSpec& spec) { spec.add_exports("gptq"); }},
      {"spec.device", [](v1::QuantJobSpec& spec) { spec.set_device("cpu"); }},
      {"spec.labels", [](v1::QuantJobSpec& spec) { (*spec.mutable_labels())["a"] = "b"; }},
      {"spec.priority", [](v1::QuantJobSpec& spec) { spec.set_priority(1); }},
      {"spec.queue_timeout_ms", [](v1::QuantJobSpec& spec) { spec.set_queue_timeout_ms(1); }},
      {"spec.run_timeout_ms", [](v1::QuantJobSpec& spec) { spec.set_run_timeout_ms(1); }},
      {"spec.max_attempts", [](v1::QuantJobSpec& spec) { spec.set_max_attempts(1); }},
  };
  for (const Row& row : rows) {
    v1::SubmitQuantJobRequest request = GoodRequest(kRequestId);
    row.change(*request.mutable_spec());
    const auto response = Submit(request);
    EXPECT_EQ(response.status().code(), absl::StatusCode::kAlreadyExists) << row.field;
    EXPECT_THAT(response, FailsWith("REQUEST_ID_REUSED", row.field));
    EXPECT_EQ(FieldOf(response.status()), row.field);
  }
  EXPECT_EQ(CountJobs(), 1);
}

TEST_F(SubmitTest, ManyCallsWithOneRequestIdMakeOneJob) {
  std::vector<std::string> names(64);
  std::vector<std::thread> callers;
  for (std::string& name : names) {
    callers.emplace_back([&] {
      const auto response = Submit(GoodRequest(kRequestId));
      if (response.ok()) name = response->job().name();
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 1);
  EXPECT_NE(names[0], "");
  EXPECT_EQ(CountJobs(), 1);
}

// The commit is done, its answer is lost: the client cannot know, and asks again.
TEST_F(SubmitTest, UnknownCommitIsOneJobOnRetry) {
  ASSERT_OK(SetFailPoints("submit.commit.after=error@1"));
  const auto lost = Submit(GoodRequest(kRequestId));
  ASSERT_OK(SetFailPoints(""));
  EXPECT_EQ(lost.status().code(), absl::StatusCode::kUnavailable) << "a code that clients retry";
  ASSERT_OK_AND_ASSIGN(const auto again, Submit(GoodRequest(kRequestId)));
  EXPECT_TRUE(again.duplicate());
  EXPECT_EQ(CountJobs(), 1);
}

TEST_F(SubmitTest, CommitThatFailedIsNoJob) {
  ASSERT_OK(SetFailPoints("submit.commit.before=error@1"));
  EXPECT_EQ(Submit(GoodRequest(kRequestId)).status().code(), absl::StatusCode::kUnavailable);
  ASSERT_OK(SetFailPoints(""));
  EXPECT_EQ(CountJobs(), 0);
  ASSERT_OK_AND_ASSIGN(const auto again, Submit(GoodRequest(kRequestId)));
  EXPECT_FALSE(again.duplicate());
  EXPECT_EQ(CountJobs(), 1);
}

TEST_F(SubmitTest, EstimateStaysWithTheJob) {
  ASSERT_OK_AND_ASSIGN(const auto first, Submit(GoodRequest(kRequestId)));
  EXPECT_EQ(first.job().estimate().artifact_bytes(), 1000);
  Start();
  ASSERT_OK_AND_ASSIGN(const auto again, Submit(GoodRequest(kRequestId)));
  EXPECT_EQ(again.estimate().SerializeAsString(), first.estimate().SerializeAsString());
  ASSERT_OK_AND_ASSIGN(const auto job, Get(first.job().name()));
  EXPECT_EQ(job.estimate().bits_per_weight(), 4.25);
}

TEST_F(SubmitTest, WithoutRequestIdEveryCallIsANewJob) {
  EXPECT_NE(Submitted(), Submitted());
  EXPECT_EQ(CountJobs(), 2);
}

TEST_F(SubmitTest, ValidateOnlyQueuesNothing) {
  v1::SubmitQuantJobRequest request = GoodRequest(kRequestId);
  request.set_validate_only(true);
  ASSERT_OK_AND_ASSIGN(const auto response, Submit(request));
  EXPECT_FALSE(response.has_job());
  EXPECT_EQ(response.estimate().bits_per_weight(), 4.25);
  EXPECT_EQ(CountJobs(), 0);
  request.mutable_spec()->set_model("absent");
  EXPECT_THAT(Submit(request), FailsWith("MODEL_NOT_FOUND", "absent"));
  ASSERT_OK_AND_ASSIGN(const auto real, Submit(GoodRequest(kRequestId)));
  EXPECT_FALSE(real.duplicate()) << "a check does not use up the id";
}

TEST_F(SubmitTest, ModelsAreLookedIntoOncePerSpec) {
  Submitted();
  Submitted();
  EXPECT_EQ(quant_program_.plans(), 1);
  Submitted("rtn");
  EXPECT_EQ(quant_program_.plans(), 2);
  ASSERT_OK(WriteFileDurably(RealFileSystem(), config_.model_root + "/m/config.json", "{}"));
  absl::SleepFor(absl::FromChrono(kCheckHolds));
  Submitted();
  EXPECT_EQ(quant_program_.plans(), 3) << "the model has changed";
}

TEST_F(SubmitTest, CheckingEndsWithTheDeadlineOfTheCall) {
  absl::Duration given = absl::InfiniteDuration();
  quant_program_.plan = [&](absl::Duration timeout) {
    given = timeout;
    absl::SleepFor(timeout);
    CommandResult killed;
    killed.timed_out = true;
    return killed;
  };
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(300)));
  v1::SubmitQuantJobResponse response;
  const grpc::Status status = quant_->SubmitQuantJob(&context, GoodRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  daemon_.reset();  // waits for the handler
  EXPECT_LT(given, absl::Seconds(1)) << "the transport rounds deadlines";
}

TEST_F(SubmitTest, FullQueueRefusesNewJobsButAnswersReads) {
  config_.max_queued_jobs = 1;
  Start();
  const std::string name = Submitted();
  const auto refused = Submit(GoodRequest());
  EXPECT_THAT(refused, FailsWith("QUOTA_QUEUED_JOBS", "limit is 1"));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_OK(Get(name));
  TakeJob();
  EXPECT_OK(Submit(GoodRequest()));
}

TEST_F(SubmitTest, RestartKeepsJobsAndTheirOrder) {
  const std::string first = Submitted();
  const std::string second = Submitted("rtn");
  ASSERT_OK_AND_ASSIGN(const auto before, Get(first));
  Start();
  ASSERT_OK_AND_ASSIGN(const auto after, Get(first));
  EXPECT_EQ(after.SerializeAsString(), before.SerializeAsString());
  EXPECT_EQ(TakeJob().job(), BaseName(first));
  EXPECT_EQ(CountJobs(), 2);
}

}  // namespace
}  // namespace quantd
