// What a watcher is promised when things go wrong: no gap and no duplicate over lost connections and restarts of the
// server, and an honest end for those that do not read.
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/http_get.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::QuantJob;

constexpr absl::Duration kLongEnough = absl::Seconds(60);  // for what should take milliseconds

class WatchStreamTest : public DaemonTest {
 protected:
  using Stub = v1::QuantService::Stub;

  // Of the daemon that runs now; a watcher may hold one of a daemon that is gone.
  std::shared_ptr<Stub> CurrentStub() {
    const std::lock_guard<std::mutex> lock(address_mutex_);
    return NewStub(address_);
  }
  void Restart() {
    Start();
    const std::lock_guard<std::mutex> lock(address_mutex_);
    address_ = daemon_->grpc_address();
  }
  void SetUp() override { Restart(); }

  void Report(const v1::Assignment& job, const std::string& phase, int block) {
    v1::SynchronizeRequest request;
    request.set_worker_id("w");
    request.set_incarnation("first");
    v1::RunningJob* running = request.add_running();
    running->set_job(job.job());
    running->set_fence(job.fence());
    running->mutable_progress()->set_phase(phase);
    running->mutable_progress()->set_block(block);
    EXPECT_OK(Synchronize(request));
  }

  double Metric(const std::string& series) {
    const auto metrics = ParseMetrics(HttpCall(daemon_->http_address(), "GET /metrics").body);
    const auto found = metrics.find(series);
    return found == metrics.end() ? 0 : found->second;
  }
  bool WaitForMetric(const std::string& series, double value) {
    const absl::Time deadline = absl::Now() + kLongEnough;
    while (Metric(series) != value && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
    return Metric(series) == value;
  }

  // A spec so large that one message does not fit what gRPC keeps for a client that does not read.
  std::string SubmitLarge() {
    v1::SubmitQuantJobRequest request = GoodRequest();
    for (int i = 0; i < 900; ++i) {
      request.mutable_spec()->mutable_recipe()->add_rules()->set_pattern(absl::StrCat(i, std::string(250, 'a')));
    }
    const auto response = Submit(request);
    EXPECT_OK(response);
    return response.ok() ? response->job().name() : "";
  }

 private:
  static std::shared_ptr<Stub> NewStub(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);            // keeps the window small: 64 KiB that nobody has read
    return v1::QuantService::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  }

  std::mutex address_mutex_;
  std::string address_;  // guarded by address_mutex_
};

// Reads the job's whole life in pieces: each stream is left after a few messages, and taken up after the last one.
std::vector<QuantJob> WatchInPieces(const std::string& name, uint32_t seed,
                                    const std::function<std::shared_ptr<v1::QuantService::Stub>()>& stub) {
  std::minstd_rand random(seed);
  std::vector<QuantJob> seen;
  bool ended = false;
  while (!ended) {
    const auto current = stub();
    grpc::ClientContext context;
    v1::WatchQuantJobRequest request;
    request.set_name(name);
    request.set_from_revision(seen.empty() ? 0 : seen.back().revision());
    const auto reader = current->WatchQuantJob(&context, request);
    v1::WatchQuantJobResponse message;
    for (uint32_t left = random() % 6; left > 0 && reader->Read(&message); --left) seen.push_back(message.job());
    if (random() % 4 > 0) context.TryCancel();
    while (reader->Read(&message)) seen.push_back(message.job());
    const grpc::Status status = reader->Finish();
    const bool may_pass =
        status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
    EXPECT_TRUE(status.ok() || may_pass) << status.error_message();
    ended = !may_pass;
  }
  return seen;
}

TEST_F(WatchStreamTest, PiecesMakeUpTheEventLogOverDisconnectsAndRestarts) {
  constexpr int kWatchers = 4;
  constexpr int kRestarts = 4;
  constexpr int kBlocksEach = 40;
  const std::string name = Submitted();
  const v1::Assignment job = TakeJob();
  std::vector<std::vector<QuantJob>> seen(kWatchers);
  std::vector<std::thread> watchers;
  for (uint32_t i = 0; i < kWatchers; ++i) {
    watchers.emplace_back([&, i] { seen[i] = WatchInPieces(name, /*seed=*/i + 1, [this] { return CurrentStub(); }); });
  }
  for (int round = 0; round < kRestarts; ++round) {
    for (int block = 0; block < kBlocksEach; ++block) Report(job, absl::StrCat("phase-", round), block);
    Restart();
  }
  Succeed(job, SmallArtifact());
  for (std::thread& watcher : watchers) watcher.join();

  // The log, read in one piece: its first event is the submission, revision 1.
  const std::vector<QuantJob> log = WatchInPieces(name, /*seed=*/99, [this] { return CurrentStub(); });
  grpc::ClientContext context;
  v1::WatchQuantJobRequest request;
  request.set_name(name);
  request.set_from_revision(1);
  const auto reader = quant_->WatchQuantJob(&context, request);
  std::vector<QuantJob> events;
  v1::WatchQuantJobResponse message;
  while (reader->Read(&message)) events.push_back(message.job());
  ASSERT_TRUE(reader->Finish().ok());
  ASSERT_GE(events.size(), static_cast<size_t>(kRestarts * kBlocksEach));
  EXPECT_EQ(log.size(), 1u) << "an ended job is shown once";

  for (const std::vector<QuantJob>& watched : seen) {
    ASSERT_FALSE(watched.empty());
    auto event = std::find_if(events.begin(), events.end(),
                              [&](const QuantJob& e) { return e.revision() == watched.front().revision(); });
    ASSERT_NE(event, events.end());
    for (const QuantJob& shown : watched) {
      ASSERT_NE(event, events.end()) << "more than the log has";
      EXPECT_EQ(shown.SerializeAsString(), event->SerializeAsString());
      ++event;
    }
    EXPECT_EQ(event, events.end()) << "the end of the log is missing";
  }
}

TEST_F(WatchStreamTest, WatcherThatDoesNotReadIsToldSoAndMayComeBack) {
  config_.watch_patience_ms = 3'000;
  Restart();
  const std::string name = SubmitLarge();
  const auto stub = CurrentStub();
  grpc::ClientContext context;
  v1::WatchQuantJobRequest request;
  request.set_name(name);
  const auto reader = stub->WatchQuantJob(&context, request);
  ASSERT_TRUE(WaitForMetric(R"(grpc_server_handled_total{code="RESOURCE_EXHAUSTED",method="WatchQuantJob"})", 1));
  // Now, within another patience, it reads: what was on its way, then why it ended.
  v1::WatchQuantJobResponse message;
  int64_t revision = 0;
  while (reader->Read(&message)) revision = message.job().revision();
  const absl::Status status = FromRpcStatus(reader->Finish());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status, FailsWith("WATCHER_TOO_SLOW", "last revision seen"));
  EXPECT_GT(revision, 0);
  ASSERT_OK(Cancel(name));
  grpc::ClientContext again;
  request.set_from_revision(revision);
  const auto second = stub->WatchQuantJob(&again, request);
  ASSERT_TRUE(second->Read(&message));
  EXPECT_EQ(message.job().state(), QuantJob::CANCELLED);
  EXPECT_FALSE(second->Read(&message));
  EXPECT_TRUE(second->Finish().ok());
}

TEST_F(WatchStreamTest, WatcherThatNeverReadsIsCutOffAndHoldsUpNobody) {
  config_.watch_patience_ms = 300;
  Restart();
  const std::string name = SubmitLarge();
  const auto deaf_stub = CurrentStub();
  grpc::ClientContext context;
  v1::WatchQuantJobRequest request;
  request.set_name(name);
  const auto deaf = deaf_stub->WatchQuantJob(&context, request);
  const std::string other = Submitted();
  ASSERT_OK(Cancel(other));
  grpc::ClientContext other_context;
  request.set_name(other);
  const auto reader = quant_->WatchQuantJob(&other_context, request);
  v1::WatchQuantJobResponse message;
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(WaitForMetric("quantd_watch_streams", 0)) << "the stream is gone although its client did nothing";
  context.TryCancel();
  deaf->Finish();
}

// Many at once take no threads: far more than the daemon may have.
TEST_F(WatchStreamTest, ManyWatchersOfOneJobAllSeeItsEnd) {
  constexpr int kWatchers = 300;
  config_.max_threads = 32;
  Restart();
  const std::string name = Submitted();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchQuantJobResponse>>> readers;
  v1::WatchQuantJobRequest request;
  request.set_name(name);
  v1::WatchQuantJobResponse message;
  for (int i = 0; i < kWatchers; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(quant_->WatchQuantJob(contexts.back().get(), request));
    ASSERT_TRUE(readers.back()->Read(&message));
  }
  EXPECT_EQ(Metric("quantd_watch_streams"), kWatchers);
  ASSERT_OK(Cancel(name));
  for (auto& reader : readers) {
    ASSERT_TRUE(reader->Read(&message));
    EXPECT_EQ(message.job().state(), QuantJob::CANCELLED);
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_TRUE(reader->Finish().ok());
  }
}

}  // namespace
}  // namespace quantd
