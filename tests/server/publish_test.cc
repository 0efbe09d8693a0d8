// Publishing a result while others want to end the job: what is published belongs to a job that has succeeded.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "tests/server/forwarding_artifact_store.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using v1::FinishedJob;
using v1::QuantJob;

// Does something of the test's own in the middle of a publish, once.
class InterruptedStore : public ForwardingArtifactStore {
 public:
  InterruptedStore(ArtifactStore& real, std::function<void()> interruption)
      : ForwardingArtifactStore(real), interruption_(std::move(interruption)) {}

  absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) override {
    RETURN_IF_ERROR(ForwardingArtifactStore::Publish(key, artifact));
    ++publishes;
    if (const auto interruption = std::exchange(interruption_, nullptr)) interruption();
    return absl::OkStatus();
  }

  int publishes = 0;

 private:
  std::function<void()> interruption_;
};

class PublishTest : public SchedulerTest {
 protected:
  void SetUp() override {
    SchedulerTest::SetUp();
    Submit("a");
    ASSERT_THAT(Assigned(Request("w")), ElementsAre("a:1"));
  }
  // `interruption` comes while the first result is being published.
  void Interrupt(std::function<void()> interruption) {
    interrupted_ = std::make_unique<InterruptedStore>(*artifacts_, std::move(interruption));
    scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{.lease = kLease},
                                             SchedulerServices{*store_, *interrupted_, clock_, metrics_});
  }
  // Files in the folder of what is published, or of what is staged.
  int CountFiles(const std::string& folder) const {
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(JoinPath(directory_, folder))) {
      files += entry.is_regular_file() ? 1 : 0;
    }
    return files;
  }
  double Counted(const std::string& series) const {
    const std::string text = metrics_.Text();
    const size_t place = text.find("\n" + series + " ");
    EXPECT_NE(place, std::string::npos) << series;
    return place == std::string::npos ? -1 : std::stod(text.substr(place + series.size() + 2));
  }

  std::unique_ptr<InterruptedStore> interrupted_;
};

TEST_F(PublishTest, SuccessOfAJobThatIsBeingCancelledPublishesNothing) {
  const FinishedJob finished = Uploaded("a", 1);
  ASSERT_EQ(CountFiles("staging"), 2);
  ASSERT_OK_AND_ASSIGN(const JobRecord cancelled, scheduler_->Cancel("a"));
  ASSERT_EQ(cancelled.job.state(), QuantJob::CANCELLING);
  EXPECT_OK(scheduler_->CheckLease("a", 1)) << "the lease is the worker's until it says that the child is gone";

  EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), ElementsAre("a:1"));
  EXPECT_EQ(Job("a").state(), QuantJob::CANCELLED);
  EXPECT_FALSE(Job("a").has_artifact());
  ASSERT_OK_AND_ASSIGN(const auto report, store_->Report("a"));
  EXPECT_FALSE(report.has_value());
  EXPECT_EQ(CountFiles("artifacts"), 0);
  EXPECT_EQ(CountFiles("staging"), 0);
}

TEST_F(PublishTest, CancelDuringAPublishComesTooLate) {
  std::thread canceller;
  absl::StatusOr<JobRecord> cancelled;
  Interrupt([&] {
    canceller = std::thread([&] { cancelled = scheduler_->Cancel("a"); });
    // Long enough for a cancel that would not wait; a slow machine can only let a wrong one pass.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
  });
  EXPECT_THAT(Fences(Finish("w", Uploaded("a", 1)).acknowledged()), ElementsAre("a:1"));
  ASSERT_TRUE(canceller.joinable());
  canceller.join();
  ASSERT_OK(cancelled);
  EXPECT_EQ(cancelled->job.state(), QuantJob::SUCCEEDED);
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
  EXPECT_EQ(CountFiles("artifacts"), 2);
}

TEST_F(PublishTest, LeaseThatEndsDuringAPublishIsNotTakenBack) {
  Interrupt([&] {
    clock_.Advance(2 * kLease);
    EXPECT_OK(scheduler_->Sweep());
    EXPECT_EQ(Job("a").state(), QuantJob::RUNNING);
  });
  EXPECT_THAT(Fences(Finish("w", Uploaded("a", 1)).acknowledged()), ElementsAre("a:1"));
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
  EXPECT_EQ(Counted("quantd_lease_expirations_total"), 0);
}

// The worker's call timed out during a long publish, and it says its result again.
TEST_F(PublishTest, ResultRepeatedDuringItsPublishIsPublishedOnce) {
  const FinishedJob finished = Uploaded("a", 1);
  Interrupt([&] {
    const v1::SynchronizeResponse answer = Finish("w", finished);
    EXPECT_THAT(Fences(answer.acknowledged()), IsEmpty()) << "not recorded yet";
    EXPECT_THAT(Fences(answer.stale()), IsEmpty()) << "the worker must repeat it";
  });
  EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), ElementsAre("a:1"));
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
  EXPECT_EQ(interrupted_->publishes, 1);
  EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), ElementsAre("a:1")) << "and again, when it is recorded";
}

TEST_F(PublishTest, ResultThatCannotBePublishedNowKeepsItsLease) {
  const FinishedJob finished = Uploaded("a", 1);
  files_.FailAt(0, ENOSPC, /*for_good=*/true);
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(kLease - absl::Milliseconds(1));
    EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), IsEmpty());
    ASSERT_OK(scheduler_->Sweep());
    ASSERT_EQ(Job("a").state(), QuantJob::RUNNING);
  }
  files_.Heal();
  EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), ElementsAre("a:1"));
  EXPECT_EQ(Job("a").state(), QuantJob::SUCCEEDED);
  EXPECT_EQ(Job("a").attempt(), 1);
}

TEST_F(PublishTest, ArtifactThatLacksAFilePublishesNoneOfIt) {
  FinishedJob finished = Uploaded("a", 1);
  ASSERT_EQ(finished.artifact().files(1).path(), "manifest.json");
  v1::ArtifactFile* missing = finished.mutable_artifact()->add_files();
  missing->set_path("z.safetensors");
  missing->set_size_bytes(3);
  missing->set_sha256(std::string(64, 'a'));
  EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), ElementsAre("a:1"));
  EXPECT_EQ(Job("a").error().reason(), "ARTIFACT_INCOMPLETE");
  EXPECT_EQ(CountFiles("artifacts"), 0);
  EXPECT_EQ(CountFiles("staging"), 0);
}

}  // namespace
}  // namespace quantd
