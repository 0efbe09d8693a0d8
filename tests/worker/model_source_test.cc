// Jobs whose models are in an object store: fetched before the child starts, named by their contents, refused when not
// allowed.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/objects/model_cache.h"
#include "tests/testing/memory_s3.h"
#include "tests/testing/status_matchers.h"
#include "tests/worker/worker_fixture.h"

namespace quantd {
namespace {

constexpr char kJob[] = "tenants/default/jobs/j1";

class ModelSourceTest : public WorkerTest {
 protected:
  void OpenCache() {
    const std::string credentials = JoinPath(folder_, "credentials");
    ASSERT_OK(WriteFileDurably(RealFileSystem(), credentials, "aws_access_key_id=a\naws_secret_access_key=b\n"));
    auto cache =
        ModelCache::Open({.directory = JoinPath(folder_, "cache"), .max_bytes = 1000, .prefixes = {{"models", "good"}}},
                         S3Options{.endpoint = objects_.url(),
                                   .path_style = true,
                                   .credentials_file = credentials,
                                   .retry = {.attempts = 2, .first_pause = absl::Milliseconds(1)}});
    ASSERT_OK(cache);
    cache_ = *std::move(cache);
    options_.runner.model_cache = cache_.get();
  }
  v1::FinishedJob ResultOfModel(const std::string& model) {
    v1::Assignment assignment = MakeAssignment(kJob, 1);
    assignment.mutable_spec()->set_model(model);
    server_.Assign(assignment);
    // The child's arguments and job file, for the test to look at.
    StartWorker(
        absl::StrCat("tr '\\0' ' ' < /proc/$$/cmdline > $NOTES/arguments\ncp job.json $NOTES/job.json\n", kSuccess));
    return server_.WaitForResult(kJob);
  }

  MemoryS3 objects_;
  std::unique_ptr<ModelCache> cache_;
};

TEST_F(ModelSourceTest, TheChildGetsAFolderOfTheCache) {
  objects_.Put("/models/good/tiny/config.json", "{}");
  OpenCache();
  const v1::FinishedJob result = ResultOfModel("s3://models/good/tiny");
  ASSERT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED) << result.ShortDebugString();
  EXPECT_THAT(ReadNote("arguments"), testing::HasSubstr(absl::StrCat("--model-root ", cache_->models_folder(), " ")));
  ASSERT_OK_AND_ASSIGN(const auto names, RealFileSystem().ListDirectory(cache_->models_folder()));
  ASSERT_EQ(names.size(), 1u);
  EXPECT_THAT(ReadNote("job.json"), testing::HasSubstr(names[0]));
  EXPECT_THAT(ReadNote("job.json"), testing::Not(testing::HasSubstr("s3://")));
}

TEST_F(ModelSourceTest, AModelThatIsNotThereFailsTheJobAndAStoreThatIsDownIsTriedElsewhere) {
  OpenCache();
  v1::FinishedJob result = ResultOfModel("s3://models/good/absent");
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_FAILED);
  EXPECT_EQ(result.error().reason(), "MODEL_NOT_FOUND");
  EXPECT_EQ(result.error().phase(), "fetch");
  objects_.SetFault([](const ScriptedRequest&) { return S3Error(503, "SlowDown"); });
  v1::Assignment assignment = MakeAssignment("tenants/default/jobs/j2", 1);
  assignment.mutable_spec()->set_model("s3://models/good/tiny");
  server_.Assign(assignment);
  result = server_.WaitForResult("tenants/default/jobs/j2");
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_CRASHED);
  EXPECT_EQ(result.error().reason(), "OBJECT_STORE_UNAVAILABLE");
}

TEST_F(ModelSourceTest, WithoutACacheNothingIsFetched) {
  const v1::FinishedJob result = ResultOfModel("s3://models/good/tiny");
  EXPECT_EQ(result.error().reason(), "MODEL_SOURCE_REFUSED");
  EXPECT_THAT(objects_.requests(), testing::IsEmpty());
}

TEST_F(ModelSourceTest, ACancelEndsAFetch) {
  objects_.SetFault([](const ScriptedRequest&) { return ScriptedAnswer{.delay = absl::Seconds(60)}; });
  OpenCache();
  v1::Assignment assignment = MakeAssignment(kJob, 1);
  assignment.mutable_spec()->set_model("s3://models/good/tiny");
  server_.Assign(assignment);
  StartWorker(kSuccess);
  while (objects_.requests().empty()) absl::SleepFor(absl::Milliseconds(10));
  server_.Cancel(kJob, 1);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_CANCELLED);
}

}  // namespace
}  // namespace quantd
