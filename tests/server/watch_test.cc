// WatchQuantJob: the state now, then every change, from any revision, until the end.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using v1::QuantJob;

struct Watched {
  std::vector<QuantJob> jobs;
  absl::Status status;

  std::vector<QuantJob::State> States() const {
    std::vector<QuantJob::State> states;
    for (const QuantJob& job : jobs) states.push_back(job.state());
    return states;
  }
};

class WatchTest : public DaemonTest {
 protected:
  // Reads until the stream ends; `on_message` is told how many messages have come.
  Watched Watch(
      const std::string& name, int64_t from_revision, absl::Duration timeout = absl::Seconds(60),
      const std::function<void(size_t)>& on_message = [](size_t) {}) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    v1::WatchQuantJobRequest request;
    request.set_name(name);
    request.set_from_revision(from_revision);
    const auto reader = quant_->WatchQuantJob(&context, request);
    Watched watched;
    v1::WatchQuantJobResponse message;
    while (reader->Read(&message)) {
      watched.jobs.push_back(message.job());
      on_message(watched.jobs.size());
    }
    watched.status = FromRpcStatus(reader->Finish());
    return watched;
  }

  void ReportPhase(const v1::Assignment& job, const std::string& phase) {
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    v1::RunningJob* running = request.add_running();
    running->set_job(job.job());
    running->set_fence(job.fence());
    running->mutable_progress()->set_phase(phase);
    EXPECT_OK(Synchronize(request));
  }
};

TEST_F(WatchTest, FollowsAJobFromItsQueueToItsEnd) {
  const std::string name = Submitted();
  std::atomic<size_t> seen{0};
  const auto wait_for = [&](size_t count) {
    while (seen < count) std::this_thread::yield();
  };
  Watched watched;
  std::thread watcher([&] { watched = Watch(name, 0, absl::Seconds(60), [&](size_t count) { seen = count; }); });
  wait_for(1);
  const v1::Assignment job = TakeJob();
  wait_for(2);
  ReportPhase(job, "quantize");
  wait_for(3);
  Succeed(job, SmallArtifact());
  watcher.join();
  EXPECT_OK(watched.status);
  EXPECT_THAT(watched.States(),
              ElementsAre(QuantJob::QUEUED, QuantJob::RUNNING, QuantJob::RUNNING, QuantJob::SUCCEEDED));
  EXPECT_THAT(watched.jobs[0].conditions(), ElementsAre("no worker is connected"));
  EXPECT_EQ(watched.jobs[2].progress().phase(), "quantize");
  for (size_t i = 1; i < watched.jobs.size(); ++i) {
    EXPECT_GT(watched.jobs[i].revision(), watched.jobs[i - 1].revision());
  }
  EXPECT_EQ(watched.jobs[3].spec().model(), "m");
  EXPECT_EQ(watched.jobs[3].artifact().files_size(), 2);
}

TEST_F(WatchTest, ResumesFromEveryRevisionWithoutALoss) {
  const std::string name = Submitted();
  Submitted("rtn");
  const v1::Assignment job = TakeJob();
  for (const char* phase : {"plan", "calibrate", "quantize"}) ReportPhase(job, phase);
  ASSERT_OK(Cancel(name));
  ReportPhase(job, "pack");
  v1::SynchronizeRequest request;
  request.set_worker_id("w");
  request.set_incarnation("first");
  request.add_finished()->set_job(job.job());
  request.mutable_finished(0)->set_fence(job.fence());
  request.mutable_finished(0)->set_outcome(v1::FinishedJob::OUTCOME_CANCELLED);
  ASSERT_OK(Synchronize(request));

  const Watched all = Watch(name, 1);  // the job's own first revision: everything after its submission
  ASSERT_OK(all.status);
  EXPECT_EQ(all.jobs.size(), 7);
  for (size_t seen = 0; seen < all.jobs.size(); ++seen) {
    const Watched rest = Watch(name, all.jobs[seen].revision());
    EXPECT_OK(rest.status);
    ASSERT_EQ(rest.jobs.size(), all.jobs.size() - seen - 1);
    for (size_t i = 0; i < rest.jobs.size(); ++i) {
      EXPECT_EQ(rest.jobs[i].SerializeAsString(), all.jobs[seen + 1 + i].SerializeAsString());
    }
  }
}

TEST_F(WatchTest, EndedJobIsShownOnceAndTheStreamEnds) {
  const std::string name = Submitted();
  ASSERT_OK(Cancel(name));
  const Watched watched = Watch(name, 0);
  EXPECT_OK(watched.status);
  EXPECT_THAT(watched.States(), ElementsAre(QuantJob::CANCELLED));
}

TEST_F(WatchTest, RevisionsOutsideTheServersAreRefused) {
  const std::string name = Submitted();
  for (const int64_t revision : {int64_t{-1}, int64_t{2}, INT64_MAX, INT64_MIN}) {
    const Watched watched = Watch(name, revision);
    EXPECT_EQ(watched.status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(watched.status, FailsWith("REVISION_IN_FUTURE", "newest revision is 1"));
    EXPECT_THAT(watched.jobs, IsEmpty());
  }
}

TEST_F(WatchTest, EndsWithTheDeadlineOfItsCaller) {
  const Watched watched = Watch(Submitted(), 0, absl::Milliseconds(300));
  EXPECT_EQ(watched.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(watched.States(), ElementsAre(QuantJob::QUEUED));
  daemon_.reset();  // would wait for a handler that does not notice
}

TEST_F(WatchTest, ShutdownTellsWatchersToComeBack) {
  const std::string name = Submitted();
  std::atomic<bool> watching{false};
  Watched watched;
  std::thread watcher([&] { watched = Watch(name, 0, absl::Seconds(60), [&](size_t) { watching = true; }); });
  while (!watching) std::this_thread::yield();
  daemon_->Shutdown([](absl::Duration) {});
  watcher.join();
  EXPECT_EQ(watched.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(watched.status, FailsWith("DRAINING", "last revision seen"));
  Start();
  const Watched again = Watch(name, watched.jobs.back().revision(), absl::Milliseconds(300));
  EXPECT_EQ(again.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(again.jobs, IsEmpty()) << "nothing has happened since";
}

}  // namespace
}  // namespace quantd
