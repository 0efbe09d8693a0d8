// Workers that are late, lie, repeat themselves or send too much: the job's state, its result and everybody else's jobs
// stay right.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/errors/rpc_status.h"
#include "tests/server/worker_calls.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

class WorkerMisuseTest : public WorkerCallsTest {
 protected:
  // A result is told again while the server says nothing about it (its sweeper has the job in hand just now).
  absl::StatusOr<v1::SynchronizeResponse> AnswerTo(const v1::FinishedJob& finished) {
    while (true) {
      ASSIGN_OR_RETURN(v1::SynchronizeResponse response, Report(finished));
      if (response.stale_size() + response.acknowledged_size() > 0) return response;
    }
  }
  absl::StatusOr<v1::SynchronizeResponse> Tell(const v1::Assignment& job, const v1::JobProgress& progress) {
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    v1::RunningJob* running = request.add_running();
    running->set_job(job.job());
    running->set_fence(job.fence());
    *running->mutable_progress() = progress;
    return Synchronize(request);
  }
};

// A frozen worker wakes up when another has done its job: nothing that it still sends is taken. 90 times; the other 10
// are real processes (tests/e2e/frozen_worker_test.py).
TEST_F(WorkerMisuseTest, ALateWorkerCannotReplaceWhatItsSuccessorPublished) {
  constexpr int kRounds = 90;
  int refused = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = Submitted();
    const v1::Assignment frozen = TakeJob();
    const SmallArtifact late(absl::StrCat("late ", round));
    ASSERT_OK(Upload(frozen, late.artifact.files(0), late.contents[0]));  // it freezes in the middle of its uploads
    LoseWorker(name);
    const v1::Assignment successor = TakeJob();
    ASSERT_EQ(successor.fence(), frozen.fence() + 1);
    const SmallArtifact good(absl::StrCat("good ", round));
    const bool before_the_end = round % 2 == 0;
    if (!before_the_end) Succeed(successor, good);

    EXPECT_THAT(Upload(frozen, late.artifact.files(1), late.contents[1]), FailsWith("STALE_LEASE", ""));
    EXPECT_THAT(Commit(frozen, {{"checkpoint.json", "late"}}, 1), FailsWith("STALE_LEASE", ""));
    ASSERT_OK_AND_ASSIGN(const auto response, AnswerTo(SuccessOf(frozen, late.artifact)));
    ASSERT_EQ(response.stale_size(), 1);
    EXPECT_EQ(response.acknowledged_size(), 0);
    ++refused;

    if (before_the_end) Succeed(successor, good);
    ASSERT_OK_AND_ASSIGN(const v1::QuantJob job, Get(name));
    ASSERT_EQ(job.artifact().digest(), good.artifact.digest());
  }
  EXPECT_EQ(refused, kRounds);
}

TEST_F(WorkerMisuseTest, ASecondPublishIsAcknowledgedAndChangesNothing) {
  const std::string name = Submitted();
  const v1::Assignment job = TakeJob();
  const SmallArtifact first("first");
  Succeed(job, first);
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob before, Get(name));
  for (const SmallArtifact& again : {SmallArtifact("first"), SmallArtifact("second")}) {
    ASSERT_OK_AND_ASSIGN(const auto response, Report(SuccessOf(job, again.artifact)));
    EXPECT_EQ(response.acknowledged_size(), 1);
  }
  v1::FinishedJob failed = SuccessOf(job, first.artifact);
  failed.set_outcome(v1::FinishedJob::OUTCOME_FAILED);
  EXPECT_OK(Report(failed));
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob after, Get(name));
  EXPECT_EQ(after.SerializeAsString(), before.SerializeAsString());
}

struct Lie {
  const char* name;
  double fraction;
  double eta_seconds;
  double shown_fraction;  // after 0.5 had been told
};
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Lie kLies[] = {
    {"NotANumber", kNan, kNan, 0.5}, {"Huge", 1e300, 1e300, 1.0},  {"Infinite", kInfinity, kInfinity, 0.5},
    {"Negative", -7, -7, 0.5},       {"Backwards", 0.25, 10, 0.5}, {"MinusInfinity", -kInfinity, -kInfinity, 0.5},
};

class LieTest : public WorkerMisuseTest, public testing::WithParamInterface<Lie> {};

TEST_P(LieTest, ProgressStaysWithinItsRangeAndNeverFalls) {
  const std::string name = Submitted();
  const v1::Assignment job = TakeJob();
  v1::JobProgress progress;
  progress.set_fraction(0.5);
  ASSERT_OK(Tell(job, progress));
  progress.set_fraction(GetParam().fraction);
  progress.set_eta_seconds(GetParam().eta_seconds);
  progress.set_phase(std::string(1 << 20, 'p'));
  progress.set_layer(std::string(1 << 20, 'l'));
  ASSERT_OK(Tell(job, progress));
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob shown, Get(name));
  EXPECT_EQ(shown.progress().fraction(), GetParam().shown_fraction);
  EXPECT_TRUE(std::isfinite(shown.progress().eta_seconds()));
  EXPECT_GE(shown.progress().eta_seconds(), 0);
  EXPECT_LE(shown.ByteSizeLong(), 4096u);
}
INSTANTIATE_TEST_SUITE_P(All, LieTest, testing::ValuesIn(kLies),
                         [](const auto& lie) { return std::string(lie.param.name); });

TEST_F(WorkerMisuseTest, MessagesBeyondTheLimitAreRefusedAndTheServerGoesOn) {
  const std::string name = Submitted();
  const v1::Assignment job = TakeJob();
  const SmallArtifact small;
  v1::FinishedJob huge = SuccessOf(job, small.artifact);
  huge.mutable_report()->set_preset(std::string(17 << 20, 'x'));
  EXPECT_EQ(Report(huge).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Get(name)->state(), v1::QuantJob::RUNNING) << "nothing of it counts";

  grpc::ClientContext context;
  v1::UploadArtifactResponse response;
  const auto writer = worker_->UploadArtifact(&context, &response);
  v1::UploadArtifactRequest message;
  message.mutable_header()->set_job(job.job());
  message.mutable_header()->set_fence(job.fence());
  *message.mutable_header()->mutable_file() = Describe("model.safetensors", std::string(2 << 20, 'x'));
  writer->Write(message);
  message.set_data(std::string((1 << 20) + 1, 'x'));
  writer->Write(message);
  writer->WritesDone();
  EXPECT_THAT(FromRpcStatus(writer->Finish()), FailsWith("UPLOAD_MALFORMED", "1 MiB"));

  Succeed(job, small);
  EXPECT_EQ(Get(name)->state(), v1::QuantJob::SUCCEEDED);
}

TEST_F(WorkerMisuseTest, AHugeErrorIsCutToWhatTheJobShows) {
  const std::string name = Submitted();
  v1::FinishedJob failed = SuccessOf(TakeJob(), {});
  failed.set_outcome(v1::FinishedJob::OUTCOME_FAILED);
  for (std::string* text : {failed.mutable_error()->mutable_reason(), failed.mutable_error()->mutable_message(),
                            failed.mutable_error()->mutable_log_tail(), failed.mutable_error()->mutable_phase()}) {
    *text = std::string(3 << 20, 'x');
  }
  ASSERT_OK(Report(failed));
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob job, Get(name));
  EXPECT_EQ(job.state(), v1::QuantJob::FAILED);
  EXPECT_LE(job.error().ByteSizeLong(), 24u << 10);
}

// Whoever came last has the id; the other is told to end, and its job is given to somebody.
TEST_F(WorkerMisuseTest, OfTwoWorkersWithOneIdTheLaterStays) {
  const std::string name = Submitted();
  const v1::Assignment first = TakeJob();
  v1::SynchronizeRequest request;
  request.set_worker_id("w");
  request.set_incarnation("second");
  ASSERT_OK(Synchronize(request));
  EXPECT_THAT(Tell(first, {}).status(), FailsWith("WORKER_REPLACED", "--worker-id"));
  EXPECT_THAT(Upload(first, Describe("x", "x"), "x"), FailsWith("STALE_LEASE", ""));
  EXPECT_EQ(Get(name)->state(), v1::QuantJob::QUEUED);
}

}  // namespace
}  // namespace quantd
