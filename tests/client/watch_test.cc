// Watch: every change once, across broken streams.
#include "client/reconnect.h"
#include "tests/client/fake_service.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kName[] = "tenants/default/jobs/j1";
const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "restarting");

v1::QuantJob At(v1::QuantJob::State state, int64_t revision) {
  return JobAt(kName, state, revision);
}

std::vector<int64_t> WatchedRevisions(QuantdClient client, absl::Status* status,
                                      absl::Duration longest_outage = absl::Seconds(20)) {
  std::vector<int64_t> revisions;
  WatchOptions options;
  options.longest_outage = longest_outage;
  *status = client.Watch("j1", options, [&](const v1::QuantJob& job) { revisions.push_back(job.revision()); }).status();
  return revisions;
}

TEST(Watch, EndsWithTheTerminalJob) {
  FakeServer server;
  server.service().watches = {
      {.jobs = {At(v1::QuantJob::QUEUED, 1), At(v1::QuantJob::RUNNING, 2), At(v1::QuantJob::SUCCEEDED, 5)}}};
  std::vector<v1::QuantJob::State> states;
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob job, server.Client().Watch("j1", {}, [&](const v1::QuantJob& now) {
    states.push_back(now.state());
  }));
  EXPECT_EQ(job.revision(), 5);
  EXPECT_THAT(states, testing::ElementsAre(v1::QuantJob::QUEUED, v1::QuantJob::RUNNING, v1::QuantJob::SUCCEEDED));
}

TEST(Watch, ResumesAfterTheLastRevisionAndRepeatsNothing) {
  FakeServer server;
  server.service().watches = {
      {.jobs = {At(v1::QuantJob::QUEUED, 1), At(v1::QuantJob::RUNNING, 4)}, .end = kUnavailable},
      {.jobs = {}, .end = kUnavailable},
      // The known state first, as a server may send it.
      {.jobs = {At(v1::QuantJob::RUNNING, 4), At(v1::QuantJob::CANCELLING, 6)}, .end = grpc::Status::OK},
      {.jobs = {At(v1::QuantJob::CANCELLED, 7)}}};
  absl::Status status;
  EXPECT_THAT(WatchedRevisions(server.Client(), &status), testing::ElementsAre(1, 4, 6, 7));
  EXPECT_OK(status);
  const auto& watched = server.service().watched;
  ASSERT_EQ(watched.size(), 4u);
  EXPECT_EQ(watched[0].from_revision(), 0);
  EXPECT_EQ(watched[1].from_revision(), 4);
  EXPECT_EQ(watched[2].from_revision(), 4);
  EXPECT_EQ(watched[3].from_revision(), 6);
}

// A server that shuts down cancels what it cannot finish; its own errors have a reason.
TEST(Watch, CallThatTheServerCutOffIsResumed) {
  FakeServer server;
  server.service().watches = {
      {.jobs = {At(v1::QuantJob::RUNNING, 2)}, .end = grpc::Status::CANCELLED},
      {.jobs = {At(v1::QuantJob::RUNNING, 3)}, .end = RichError(grpc::StatusCode::UNAVAILABLE, "DRAINING", "stopping")},
      {.jobs = {At(v1::QuantJob::RUNNING, 4)}, .end = grpc::Status(grpc::StatusCode::UNKNOWN, "Stream removed")},
      {.jobs = {At(v1::QuantJob::SUCCEEDED, 5)}}};
  absl::Status status;
  EXPECT_THAT(WatchedRevisions(server.Client(), &status), testing::ElementsAre(2, 3, 4, 5));
  EXPECT_OK(status);
}

TEST(Watch, ProgressWithinOneRevisionIsShown) {
  FakeServer server;
  v1::QuantJob first = At(v1::QuantJob::RUNNING, 2);
  first.mutable_progress()->set_fraction(0.25);
  v1::QuantJob second = first;
  second.mutable_progress()->set_fraction(0.5);
  server.service().watches = {{.jobs = {first, second, At(v1::QuantJob::FAILED, 3)}}};
  absl::Status status;
  EXPECT_THAT(WatchedRevisions(server.Client(), &status), testing::ElementsAre(2, 2, 3));
}

TEST(Watch, GivesUpWhenTheServerStaysAway) {
  FakeServer server;
  server.service().watches = {{.jobs = {At(v1::QuantJob::RUNNING, 2)}, .end = kUnavailable}};
  absl::Status status;
  WatchedRevisions(server.Client(), &status, absl::Milliseconds(300));
  EXPECT_THAT(status, FailsWith("SERVER_UNREACHABLE", server.address()));
}

TEST(Watch, OtherErrorsEndItAtOnce) {
  FakeServer server;
  server.service().watches = {
      {.jobs = {}, .end = RichError(grpc::StatusCode::OUT_OF_RANGE, "REVISION_IN_FUTURE", "revision 9 is not there")}};
  absl::Status status;
  WatchedRevisions(server.Client(), &status);
  EXPECT_THAT(status, FailsWith("REVISION_IN_FUTURE", "9"));
  EXPECT_EQ(server.service().watched.size(), 1u);
}

// With the last revision known the server has nothing to tell.
TEST(Watch, JobThatHasEndedAlreadyIsLookedUp) {
  FakeServer server;
  server.service().jobs[kName] = At(v1::QuantJob::SUCCEEDED, 9);
  server.service().watches = {{.jobs = {}, .end = grpc::Status::OK}};
  ASSERT_OK_AND_ASSIGN(const v1::QuantJob job, server.Client().Watch("j1", {.from_revision = 9}, nullptr));
  EXPECT_EQ(job.state(), v1::QuantJob::SUCCEEDED);
}

TEST(Watch, UnknownStatesAreNotTerminal) {
  FakeServer server;
  server.service().watches = {{.jobs = {At(static_cast<v1::QuantJob::State>(42), 2), At(v1::QuantJob::REJECTED, 3)}}};
  absl::Status status;
  EXPECT_THAT(WatchedRevisions(server.Client(), &status), testing::ElementsAre(2, 3));
  EXPECT_OK(status);
}

TEST(ReconnectRule, OnlyWhatMayPassIsTriedAgain) {
  EXPECT_TRUE(Reconnect(absl::Minutes(1)).WaitAfter(absl::UnavailableError("")));
  EXPECT_TRUE(Reconnect(absl::Minutes(1)).WaitAfter(absl::OkStatus()));
  EXPECT_FALSE(Reconnect(absl::Minutes(1)).WaitAfter(absl::DataLossError("")));
  EXPECT_FALSE(Reconnect(absl::Minutes(1)).WaitAfter(absl::NotFoundError("")));
}

}  // namespace
}  // namespace quantd
