// `quantd retention --dry-run` beside a server, wherever the service keeps its things.
#include "server/retention/dry_run.h"

#include <gtest/gtest.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "server/store/data_directory.h"
#include "server/store/job_rows.h"
#include "server/store/open_job_store.h"
#include "tests/durability/fsck_place.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

class DryRunTest : public testing::TestWithParam<PlaceKind> {
 protected:
  void SetUp() override {
    if (!place_.Obstacle().empty()) GTEST_SKIP() << place_.Obstacle();
    Populate();
    place_.Adopt(directory_);
    place_.Write(place_.PublishedPath(orphan_), "orphan", absl::Hours(48));
    const ServerConfig& config = place_.config();
    ASSERT_OK_AND_ASSIGN(
        server_, OpenJobStore({.data_directory = config.data_dir, .dsn = config.store_dsn, .clock = RealClock()}));
  }

  // Two jobs that were cancelled, the second after the first.
  void Populate() {
    ASSERT_OK_AND_ASSIGN(const DataDirectory lock, DataDirectory::Open(directory_));
    ASSERT_OK_AND_ASSIGN(const auto store, OpenJobStore({.data_directory = directory_, .clock = RealClock()}));
    absl::Time end = absl::FromUnixSeconds(1'700'000'000);
    for (const char* id : {"first", "second"}) {
      NewJob job;
      job.id = id;
      job.spec.set_model("m");
      job.create_time = end;
      ASSERT_OK(store->Submit(job, {}));
      end += absl::Seconds(1);
      const auto cancel = [&](JobRecord& record) {
        record.job.set_state(v1::QuantJob::CANCELLED);
        SetTimestamp(end, record.job.mutable_end_time());
        return absl::OkStatus();
      };
      ASSERT_OK(store->Update(DurableStep::kCancel, id, cancel));
    }
  }

  const std::string directory_ = MakeTempDir() + "/data";
  const std::string orphan_ = absl::StrCat("ab", std::string(62, '0'));
  FsckPlace place_{GetParam()};
  std::unique_ptr<JobStore> server_;
};

TEST_P(DryRunTest, NamesWhatOtherSettingsWouldRemove) {
  const std::vector<std::string> paths = place_.Paths();
  ServerConfig config = place_.config();
  ASSERT_OK_AND_ASSIGN(RetentionPlan plan, DryRunRetention(config, 10));
  EXPECT_THAT(plan.to_delete, ElementsAre()) << "by default jobs are kept";
  config.retain_jobs_per_tenant = 1;
  ASSERT_OK_AND_ASSIGN(plan, DryRunRetention(config, 10));
  EXPECT_THAT(plan.to_delete, ElementsAre("first"));
  ASSERT_EQ(plan.orphans.size(), 1u);
  EXPECT_EQ(RetentionPlanText(plan, 10),
            absl::StrCat("delete first\nremove ", orphan_,
                         " 6 bytes\nthe next pass would delete 1 jobs, expire the artifacts of 0, purge 0 deleted jobs "
                         "and remove 1 files of nobody with 6 bytes; nothing was changed\n"));
  config.retain_jobs_ms = 1;
  ASSERT_OK_AND_ASSIGN(plan, DryRunRetention(config, 1));
  EXPECT_THAT(RetentionPlanText(plan, 1), testing::HasSubstr("delete at least 1 jobs"));
  EXPECT_EQ(place_.Paths(), paths);
  EXPECT_THAT(DryRunRetention(config, 10)->to_delete, ElementsAre("first", "second")) << "nothing was changed";
}

INSTANTIATE_TEST_SUITE_P(EachPlace, DryRunTest, testing::ValuesIn(PlaceKinds()),
                         [](const testing::TestParamInfo<PlaceKind>& row) { return std::string(row.param.name); });

TEST(DryRun, WhatIsNotThereIsNotMade) {
  ServerConfig config;
  config.data_dir = MakeTempDir() + "/absent";
  EXPECT_THAT(DryRunRetention(config, 10), FailsWith("DATABASE_MISSING", "--data-dir"));
  EXPECT_FALSE(RealFileSystem().Exists(config.data_dir));
  config.data_dir = MakeTempDir();
  ASSERT_OK(OpenJobStore({.data_directory = config.data_dir, .clock = RealClock()}));
  config.artifact_store = config.data_dir + "/absent";
  EXPECT_THAT(DryRunRetention(config, 10), FailsWith("ARTIFACT_STORE_MISSING", "absent"));
  EXPECT_FALSE(RealFileSystem().Exists(config.artifact_store));
}

}  // namespace
}  // namespace quantd
