// The disk fails at every single operation of an upload and of a publish: nothing wrong is ever published, and what
// failed can be repeated once the disk works again.
#include <gtest/gtest.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "tests/server/scheduler_fixture.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::FinishedJob;
using v1::QuantJob;

constexpr int kMoreThanAnyOperation = 1000;

struct Fault {
  int error_number;
  bool for_good;
  const char* reason;
};
constexpr Fault kFaults[] = {
    {ENOSPC, true, "DISK_FULL"}, {ENOSPC, false, "DISK_FULL"}, {EIO, true, "IO_ERROR"}, {EIO, false, "IO_ERROR"}};

// Each trial has a folder of its own.
class ArtifactTrial {
 public:
  ArtifactTrial() : store_(*OpenDirectoryArtifactStore(files, directory_)) {}

  // Every file, each in two streams: resumed where the store says.
  absl::Status UploadAll() {
    for (int i = 0; i < small.artifact.files_size(); ++i) {
      const v1::ArtifactFile& file = small.artifact.files(i);
      for (const size_t up_to : {file.size_bytes() / size_t{2}, static_cast<size_t>(file.size_bytes())}) {
        RETURN_IF_ERROR(UploadUpTo(file, small.contents[static_cast<size_t>(i)].substr(0, up_to)));
      }
    }
    return absl::OkStatus();
  }
  absl::Status Publish() { return store_->Publish(kAttempt, small.artifact); }

  // What clients could see: nothing, or with the manifest everything that it names.
  void ExpectWhole() {
    for (size_t i = 0; i < small.contents.size(); ++i) {
      const bool published = store_->Open(Digest(i)).ok();
      EXPECT_TRUE(!published || Contents(i) == small.contents[i]);
      EXPECT_TRUE(published || !store_->Open(small.artifact.digest()).ok()) << "the manifest names a missing file";
    }
  }
  void ExpectPublished() {
    for (size_t i = 0; i < small.contents.size(); ++i) EXPECT_EQ(Contents(i), small.contents[i]);
  }

  FaultyFileSystem files{RealFileSystem()};
  const SmallArtifact small{std::string(1000, 'w')};

 private:
  inline static const StagingKey kAttempt = {"a", 1};

  absl::Status UploadUpTo(const v1::ArtifactFile& file, const std::string& bytes) {
    ASSIGN_OR_RETURN(const int64_t offset, store_->UploadOffset(kAttempt, file.path()));
    if (offset > static_cast<int64_t>(bytes.size())) return absl::OkStatus();
    ASSIGN_OR_RETURN(const auto upload, store_->BeginUpload(kAttempt, file, offset));
    RETURN_IF_ERROR(upload->Append(absl::string_view(bytes).substr(static_cast<size_t>(offset))));
    return upload->Finish();
  }
  const std::string& Digest(size_t i) const { return small.artifact.files(static_cast<int>(i)).sha256(); }
  std::string Contents(size_t i) {
    const auto file = store_->Open(Digest(i));
    if (!file.ok()) return file.status().ToString();
    std::string bytes((*file)->size_bytes(), '\0');
    EXPECT_OK((*file)->Read(0, absl::MakeSpan(bytes)));
    return bytes;
  }

  const std::string directory_ = MakeTempDir();
  const std::unique_ptr<ArtifactStore> store_;
};

TEST(ArtifactFaults, UploadsFailCleanlyAndResume) {
  for (const Fault& fault : kFaults) {
    int at = 0;
    for (bool failed = true; failed && at < kMoreThanAnyOperation; ++at) {
      SCOPED_TRACE(absl::StrCat("operation ", at, " fails with ", fault.reason, fault.for_good ? " for good" : ""));
      ArtifactTrial trial;
      trial.files.FailAt(at, fault.error_number, fault.for_good);
      const absl::Status status = trial.UploadAll();
      failed = !status.ok();
      EXPECT_EQ(ReasonOf(status), failed ? fault.reason : "") << status;
      EXPECT_FALSE(trial.Publish().ok() && failed) << "an upload that failed was published";
      trial.ExpectWhole();
      trial.files.Heal();
      ASSERT_OK(trial.UploadAll());
      ASSERT_OK(trial.Publish());
      trial.ExpectPublished();
    }
    EXPECT_GT(at, 20) << "opening, two appends, sync, close, rename for each of two files";
  }
}

TEST(ArtifactFaults, PublishIsAllOrNothing) {
  for (const Fault& fault : kFaults) {
    int at = 0;
    for (bool failed = true; failed && at < kMoreThanAnyOperation; ++at) {
      SCOPED_TRACE(absl::StrCat("operation ", at, " fails with ", fault.reason, fault.for_good ? " for good" : ""));
      ArtifactTrial trial;
      ASSERT_OK(trial.UploadAll());
      trial.files.FailAt(at, fault.error_number, fault.for_good);
      const absl::Status status = trial.Publish();
      failed = !status.ok();
      EXPECT_EQ(ReasonOf(status), failed ? fault.reason : "") << status;
      trial.ExpectWhole();
      trial.files.Heal();
      ASSERT_OK(trial.Publish());
      trial.ExpectPublished();
    }
    EXPECT_GT(at, 8) << "creating a folder, two syncs and a rename for each of two files";
  }
}

// A publish whose last step failed is not durable, even though its files are in place: the repetition syncs again.
TEST(ArtifactFaults, RepeatedPublishSyncsWhatAnEarlierOneCouldNot) {
  ArtifactTrial trial;
  ASSERT_OK(trial.UploadAll());
  ASSERT_OK(trial.Publish());
  for (int folder = 0; folder < 2; ++folder) {
    trial.files.FailAt(folder, EIO, /*for_good=*/false);
    EXPECT_THAT(trial.Publish(), FailsWith("IO_ERROR", "syncing directory"));
  }
}

// After a failed sync the kernel may have dropped the pages and call the next sync a success.
TEST(ArtifactFaults, BytesOfAFailedSyncAreNotTrusted) {
  const std::string directory = MakeTempDir();
  FaultyFileSystem files(RealFileSystem());
  ASSERT_OK_AND_ASSIGN(const auto store, OpenDirectoryArtifactStore(files, directory));
  const SmallArtifact small;
  ASSERT_OK_AND_ASSIGN(const auto upload, store->BeginUpload({"a", 1}, small.artifact.files(0), 0));
  ASSERT_OK(upload->Append(small.contents[0]));
  files.FailAt(0, EIO, /*for_good=*/false);
  EXPECT_THAT(upload->Finish(), FailsWith("IO_ERROR", "syncing"));
  ASSERT_OK_AND_ASSIGN(const int64_t offset, store->UploadOffset({"a", 1}, small.artifact.files(0).path()));
  EXPECT_EQ(offset, 0);
}

class PublishFaultTest : public SchedulerTest {};

// A full disk at the end of a job costs no result: the worker says it again until there is space.
TEST_F(PublishFaultTest, JobWhosePublishFailedEndsWhenItIsSaidAgain) {
  for (int at = 0; at < kMoreThanAnyOperation; ++at) {
    SCOPED_TRACE(absl::StrCat("operation ", at));
    const std::string id = absl::StrCat("job", at);
    Submit(id);
    ASSERT_THAT(Assigned(Request("w")), testing::ElementsAre(id + ":1"));
    FinishedJob finished = Uploaded(id, 1, absl::StrCat("weights of ", id));
    files_.FailAt(at, ENOSPC, /*for_good=*/true);
    const bool acknowledged = Finish("w", finished).acknowledged_size() == 1;
    files_.Heal();
    if (acknowledged) {
      EXPECT_EQ(Job(id).state(), QuantJob::SUCCEEDED);
      EXPECT_GT(at, 8);
      return;
    }
    EXPECT_THAT(Fences(Finish("w", finished).acknowledged()), testing::ElementsAre(id + ":1"));
    EXPECT_EQ(Job(id).state(), QuantJob::SUCCEEDED);
  }
  FAIL() << "no publish succeeded";
}

TEST_F(PublishFaultTest, ServerKilledBetweenEndAndRemovalLeavesNothingForLong) {
  for (const char* id : {"ended", "running"}) {
    Submit(id);
    v1::SynchronizeRequest request = Request(id);
    request.set_slots(1);
    ASSERT_THAT(Assigned(request), testing::ElementsAre(absl::StrCat(id, ":1")));
  }
  const FinishedJob ended = Uploaded("ended", 1);
  Uploaded("running", 1, "other weights");
  files_.FailAt(6 + 2, EIO, /*for_good=*/true);  // after folder, two syncs, rename of each file: the removal
  Finish("ended", ended);
  files_.Heal();
  EXPECT_EQ(Job("ended").state(), QuantJob::SUCCEEDED);
  EXPECT_TRUE(files_.Exists(directory_ + "/staging/ended"));
  Restart();
  ASSERT_OK(scheduler_->DropLeftovers());
  EXPECT_FALSE(files_.Exists(directory_ + "/staging/ended"));
  EXPECT_TRUE(files_.Exists(directory_ + "/staging/running/1"));
}

}  // namespace
}  // namespace quantd
