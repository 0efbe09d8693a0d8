// The tenants' file is followed while the daemon runs: what an operator writes holds from the next sweep on, what
// cannot be read changes nothing.
#include "server/daemon/tenants_file.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "core/base/file_system.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kRefuseAll[] = R"({"*": {"max_queued": 1}})";

void Write(const std::string& path, const std::string& text) {
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, text));
}

TEST(TenantsFile, IsReadAgainOnlyWhenItSaysSomethingElse) {
  const std::string path = MakeTempDir() + "/tenants.json";
  Write(path, kRefuseAll);
  TenantsFile file(path);
  ASSERT_OK_AND_ASSIGN(const auto first, file.Changed());
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->Of("a").max_queued, 1);
  ASSERT_OK_AND_ASSIGN(const auto same, file.Changed());
  EXPECT_FALSE(same.has_value());
  Write(path, "{}");
  ASSERT_OK_AND_ASSIGN(const auto changed, file.Changed());
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(changed->Of("a").max_queued, 0);
}

TEST(TenantsFile, EachTroubleIsSaidOnce) {
  const std::string path = MakeTempDir() + "/tenants.json";
  TenantsFile file(path);
  EXPECT_THAT(file.Changed().status(), FailsWith("FILE_NOT_FOUND", path));
  EXPECT_OK(file.Changed());
  Write(path, R"({"a": {"wieght": 1}})");
  EXPECT_THAT(file.Changed().status(), FailsWith("TENANTS_INVALID", "wieght"));
  ASSERT_OK_AND_ASSIGN(const auto silent, file.Changed());
  EXPECT_FALSE(silent.has_value());
  Write(path, "{}");
  ASSERT_OK_AND_ASSIGN(const auto mended, file.Changed());
  EXPECT_TRUE(mended.has_value());
}

TEST(TenantsFile, WithoutANameNothingChanges) {
  TenantsFile file("");
  ASSERT_OK_AND_ASSIGN(const auto nothing, file.Changed());
  EXPECT_FALSE(nothing.has_value());
}

class FollowedTenantsTest : public DaemonTest {
 protected:
  void SetUp() override { config_.tenants_file = directory_ + "/tenants.json"; }
  // Until a submit is answered like that.
  ::testing::AssertionResult SubmitsBecome(absl::string_view reason) {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (absl::Now() < end) {
      if (ReasonOf(Submit(GoodRequest()).status()) == reason) return ::testing::AssertionSuccess();
      absl::SleepFor(absl::Milliseconds(10));
    }
    return ::testing::AssertionFailure() << "submits are never answered with '" << reason << "'";
  }
};

TEST_F(FollowedTenantsTest, NewLimitsHoldWithoutARestart) {
  Write(config_.tenants_file, "{}");
  Start();
  for (int i = 0; i < 3; ++i) EXPECT_OK(Submit(GoodRequest()));
  Write(config_.tenants_file, kRefuseAll);
  EXPECT_TRUE(SubmitsBecome("QUOTA_QUEUED_JOBS"));
  Write(config_.tenants_file, "{}");
  EXPECT_TRUE(SubmitsBecome(""));
}

TEST_F(FollowedTenantsTest, WhatCannotBeReadChangesNothing) {
  Write(config_.tenants_file, kRefuseAll);
  Start();
  EXPECT_OK(Submit(GoodRequest()));
  for (const char* bad : {"", "{", R"({"*": {"max_queued": -1}})"}) {
    Write(config_.tenants_file, bad);
    absl::SleepFor(absl::Milliseconds(100));  // ten sweeps
    EXPECT_EQ(ReasonOf(Submit(GoodRequest()).status()), "QUOTA_QUEUED_JOBS") << "'" << bad << "'";
  }
  ASSERT_OK(RealFileSystem().RemoveFile(config_.tenants_file));
  absl::SleepFor(absl::Milliseconds(100));
  EXPECT_EQ(ReasonOf(Submit(GoodRequest()).status()), "QUOTA_QUEUED_JOBS") << "removed";
}

TEST_F(FollowedTenantsTest, ABadFileEndsTheStart) {
  Write(config_.tenants_file, "[]");
  EXPECT_THAT(Daemon::Start(config_, directory_, {clock_, quant_program_}).status(),
              FailsWith("TENANTS_INVALID", "object"));
}

}  // namespace
}  // namespace quantd
