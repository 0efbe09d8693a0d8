#include "core/base/fail_point.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/durable_step.h"
#include "core/base/file_system.h"
#include "tests/testing/fail_points/fail_point_rules.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

class FailPointTest : public testing::Test {
 protected:
  ~FailPointTest() override { EXPECT_OK(SetFailPoints("")); }

  // Of a step that counts how often it was done.
  absl::Status RunStep(DurableStep step = DurableStep::kSubmit) {
    return RunDurableStep(step, [&] {
      ++done_;
      return absl::OkStatus();
    });
  }

  int done_ = 0;
};

TEST(DurableStepTable, RowsAreInTheOrderOfTheEnumWithUniqueNames) {
  std::set<std::string> names;
  for (size_t i = 0; i < DurableSteps().size(); ++i) {
    const DurableStepInfo& info = DurableSteps()[i];
    EXPECT_EQ(static_cast<size_t>(info.step), i) << info.name;
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_STRNE(info.crash_before, "") << info.name;
    EXPECT_STRNE(info.crash_after, "") << info.name;
  }
  EXPECT_EQ(DurableSteps().back().step, DurableStep::kCheckpointDirectorySync) << "a step lacks its row";
}

TEST_F(FailPointTest, UnarmedStepIsDoneAndCounted) {
  const int64_t before = FailPointCounts()["submit.commit.before"];
  const int64_t after = FailPointCounts()["submit.commit.after"];
  EXPECT_OK(RunStep());
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(FailPointCounts()["submit.commit.before"], before + 1);
  EXPECT_EQ(FailPointCounts()["submit.commit.after"], after + 1);
}

TEST_F(FailPointTest, ErrorBeforeLeavesTheStepUndone) {
  ASSERT_OK(SetFailPoints("submit.commit.before=error"));
  EXPECT_THAT(RunStep(), FailsWith("FAIL_POINT", "submit.commit.before"));
  EXPECT_EQ(done_, 0);
  EXPECT_OK(RunStep(DurableStep::kClaim)) << "other steps go on";
}

TEST_F(FailPointTest, ErrorAfterReportsADoneStepAsFailed) {
  ASSERT_OK(SetFailPoints("submit.commit.after=error"));
  EXPECT_THAT(RunStep(), FailsWith("FAIL_POINT", "submit.commit.after"));
  EXPECT_EQ(done_, 1);
}

TEST_F(FailPointTest, NumberChoosesOnePassSinceArming) {
  ASSERT_OK(RunStep());
  ASSERT_OK(SetFailPoints("submit.commit.before=error@2;claim.commit.before=error"));
  EXPECT_OK(RunStep());
  EXPECT_FALSE(RunStep().ok());
  EXPECT_OK(RunStep());
  EXPECT_FALSE(RunStep(DurableStep::kClaim).ok());
}

TEST_F(FailPointTest, SleepWaits) {
  ASSERT_OK(SetFailPoints("submit.commit.before=sleep:30"));
  const absl::Time begin = absl::Now();
  EXPECT_OK(RunStep());
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(30));
  EXPECT_EQ(done_, 1);
}

TEST_F(FailPointTest, ExitIsLikeKill) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto dies = [&](const char* point) {
    (void)SetFailPoints(absl::StrCat("submit.commit.", point, "=exit"));
    (void)RunStep();
  };
  EXPECT_EXIT(dies("before"), testing::KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(dies("after"), testing::KilledBySignal(SIGKILL), "");
}

// Death tests start this program again, with the variable.
TEST_F(FailPointTest, AFileArmsARunningProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  setenv("QUANTD_FAIL_POINT_DIR", MakeTempDir().c_str(), /*overwrite=*/0);
  const std::string armed = absl::StrCat(getenv("QUANTD_FAIL_POINT_DIR"), "/armed.core_base_test");
  const auto arm = [&](const char* text) { std::ofstream(armed) << text; };
  const auto dies_at_the_second = [&] {
    if (!RunStep().ok()) _exit(1);
    arm("submit.commit.after=error;submit.commit.before=exit@2");
    if (ReasonOf(RunStep()) != "FAIL_POINT") _exit(2);
    (void)RunStep();
  };
  EXPECT_EXIT(dies_at_the_second(), testing::KilledBySignal(SIGKILL), "");
  const auto is_disarmed = [&] {
    arm("claim.commit.before=error@2");
    if (!RunStep(DurableStep::kClaim).ok()) _exit(1);
    std::filesystem::remove(armed);
    _exit(RunStep(DurableStep::kClaim).ok() ? 0 : 2);
  };
  EXPECT_EXIT(is_disarmed(), testing::ExitedWithCode(0), "");
  const auto is_mistaken = [&] {
    arm("submit.commit=exit");
    (void)RunStep();
  };
  EXPECT_EXIT(is_mistaken(), testing::ExitedWithCode(2), "FAIL_POINT_UNKNOWN");
  unsetenv("QUANTD_FAIL_POINT_DIR");
}

TEST_F(FailPointTest, MistakesAreNamed) {
  struct Row {
    const char* text;
    const char* reason;
    const char* mentions;
  };
  const Row rows[] = {
      {"submit.commit=exit", "FAIL_POINT_UNKNOWN", "'submit.commit'"},
      {"submit.commit.befor=exit", "FAIL_POINT_UNKNOWN", "STEP.before"},
      {"claim.commit.after=exit;nothing=error", "FAIL_POINT_UNKNOWN", "'nothing'"},
      {"submit.commit.before", "FAIL_POINT_ACTION_INVALID", "submit.commit.before"},
      {"submit.commit.before=explode", "FAIL_POINT_ACTION_INVALID", "explode"},
      {"submit.commit.before=exit@0", "FAIL_POINT_ACTION_INVALID", "@0"},
      {"submit.commit.before=exit@", "FAIL_POINT_ACTION_INVALID", "N from 1"},
      {"submit.commit.before=sleep", "FAIL_POINT_ACTION_INVALID", "MILLISECONDS"},
      {"submit.commit.before=sleep:-1", "FAIL_POINT_ACTION_INVALID", "sleep:-1"},
      {"submit.commit.before=sleep:600001", "FAIL_POINT_ACTION_INVALID", "600000"},
  };
  ASSERT_OK(SetFailPoints("submit.commit.before=error"));
  for (const Row& row : rows) EXPECT_THAT(SetFailPoints(row.text), FailsWith(row.reason, row.mentions));
  EXPECT_FALSE(RunStep().ok()) << "what was armed before stays";
}

TEST_F(FailPointTest, EveryPointCanBeArmed) {
  EXPECT_EQ(FailPointNames().size(), 2 * DurableSteps().size());
  for (const std::string& name : FailPointNames()) {
    ASSERT_OK(SetFailPoints(absl::StrCat(name, "=error")));
    const DurableStepInfo* step = nullptr;
    for (const DurableStepInfo& info : DurableSteps()) {
      if (absl::StartsWith(name, info.name)) step = &info;
    }
    ASSERT_NE(step, nullptr) << name;
    EXPECT_THAT(RunStep(step->step), FailsWith("FAIL_POINT", name));
  }
}

}  // namespace
}  // namespace quantd
