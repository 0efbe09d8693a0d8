#include "server/config/tenants.h"

#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "server/scheduler/token_bucket.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

TEST(TenantTable, NamedTenantsOverrideWhatTheStarSays) {
  ASSERT_OK_AND_ASSIGN(const TenantTable table, TenantTable::Parse(R"({
    "*": {"max_queued": 10, "weight": 2}, "b": {}, "a": {"weight": 0.5, "max_running": 3}})",
                                                                   "tenants.json"));
  EXPECT_EQ(table.Of("a").weight, 0.5);
  EXPECT_EQ(table.Of("a").max_running, 3);
  EXPECT_EQ(table.Of("a").max_queued, 10);
  EXPECT_EQ(table.Of("b").weight, 2);
  EXPECT_EQ(table.Of("somebody").max_queued, 10);
  EXPECT_EQ(table.Of("somebody").max_running, 0);
  EXPECT_THAT(table.names(), ElementsAre("a", "b"));
}

TEST(TenantTable, WithoutAFileNobodyIsLimited) {
  ASSERT_OK_AND_ASSIGN(const TenantTable table, TenantTable::ReadFile(""));
  EXPECT_EQ(table.Of("default").weight, 1);
  EXPECT_EQ(table.Of("default").max_queued, 0);
}

TEST(TenantTable, ReadsAFile) {
  const std::string path = MakeTempDir() + "/tenants.json";
  EXPECT_THAT(TenantTable::ReadFile(path), FailsWith("FILE_NOT_FOUND", path));
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, R"({"a": {"burst": 7}})"));
  ASSERT_OK_AND_ASSIGN(const TenantTable table, TenantTable::ReadFile(path));
  EXPECT_EQ(table.Of("a").burst, 7);
}

struct BadTable {
  const char* text;
  const char* reason;
  const char* mentions;
};

TEST(TenantTable, RefusesWhatItDoesNotUnderstandByName) {
  for (const BadTable& bad : {
           BadTable{"[]", "TENANTS_INVALID", "one JSON object"},
           {R"({"a": 3})", "TENANTS_INVALID", "tenant 'a': must be a JSON object"},
           {R"({"a": {"wieght": 3}})", "TENANTS_INVALID", "'wieght' is no key; known are weight, max_running"},
           {R"({"a": {"weight": 0}})", "TENANTS_INVALID", "tenant 'a': weight must be a number, 0.001 to 1000"},
           {R"({"a": {"weight": "3"}})", "TENANTS_INVALID", "weight must be a number"},
           {R"({"a": {"max_running": 1.5}})", "TENANTS_INVALID", "max_running must be an integer"},
           {R"({"a": {"max_queued": -1}})", "TENANTS_INVALID", "max_queued must be an integer, 0 to 1000000000"},
           {R"({"a": {"max_stored_bytes": 1e30}})", "TENANTS_INVALID", "0 to 9007199254740992"},
           {R"({"": {}})", "TENANTS_INVALID", "1 to 63 bytes"},
           {R"({"a": {}, "a": {}})", "JSON_DUPLICATE_KEY", "a"},
           {"{", "JSON_MALFORMED", "tenants.json"},
       }) {
    EXPECT_THAT(TenantTable::Parse(bad.text, "tenants.json"), FailsWith(bad.reason, bad.mentions)) << bad.text;
    EXPECT_THAT(TenantTable::Parse(bad.text, "tenants.json"), FailsWith(bad.reason, "tenants.json")) << bad.text;
  }
}

TEST(TokenBucket, GivesTheBurstThenTheRateAndSaysWhenToComeBack) {
  const BucketShape shape = {.per_second = 4, .burst = 3};
  SubmitRates rates;
  FakeClock clock;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rates.Take("a", shape, clock.Now()), absl::ZeroDuration());
  EXPECT_EQ(rates.Take("a", shape, clock.Now()), absl::Milliseconds(250));
  EXPECT_EQ(rates.Take("b", shape, clock.Now()), absl::ZeroDuration()) << "each tenant has its own";
  clock.Advance(absl::Milliseconds(100));
  EXPECT_EQ(rates.Take("a", shape, clock.Now()), absl::Milliseconds(150)) << "a refusal costs nothing";
  clock.Advance(absl::Milliseconds(150));
  EXPECT_EQ(rates.Take("a", shape, clock.Now()), absl::ZeroDuration());
  clock.Advance(absl::Hours(1));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rates.Take("a", shape, clock.Now()), absl::ZeroDuration());
  EXPECT_GT(rates.Take("a", shape, clock.Now()), absl::ZeroDuration())
      << "an idle hour saves up no more than the burst";
}

TEST(TokenBucket, IsBoundedInMemoryAndForgetsThoseNotSeenForLongest) {
  const BucketShape shape = {.per_second = 0.001, .burst = 1};
  SubmitRates rates;
  FakeClock clock;
  const auto take = [&](int tenant) {
    clock.Advance(absl::Microseconds(1));
    return rates.Take(std::to_string(tenant), shape, clock.Now());
  };
  const int kMany = static_cast<int>(SubmitRates::kMaxTenants) + 1;
  for (int i = 0; i < kMany; ++i) EXPECT_EQ(take(i), absl::ZeroDuration());
  EXPECT_GT(take(kMany - 1), absl::ZeroDuration()) << "remembered";
  EXPECT_EQ(take(0), absl::ZeroDuration()) << "forgotten";
}

}  // namespace
}  // namespace quantd
