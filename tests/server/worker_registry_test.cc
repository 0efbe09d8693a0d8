#include "server/scheduler/worker_registry.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

v1::SynchronizeRequest Request(const std::string& worker) {
  v1::SynchronizeRequest request;
  request.set_worker_id(worker);
  request.set_incarnation("first");
  request.set_slots(1);
  return request;
}

TEST(WorkerRegistry, RemembersABoundedNumberAndThoseHeardOfLast) {
  constexpr int kMany = 5000;
  FakeClock clock;
  WorkerRegistry registry(clock, {.connected_for = absl::Hours(1)});
  ASSERT_OK(registry.Enter(Request("inside")));  // its call is never answered
  for (int i = 0; i < kMany; ++i) {
    clock.Advance(absl::Milliseconds(1));
    const std::string worker = absl::StrCat("w", i);
    ASSERT_OK(registry.Enter(Request(worker)));
    registry.Leave(worker);
  }
  EXPECT_LE(registry.Summarize().connected, 4096);
  EXPECT_GE(registry.Summarize().connected, 4000);
  EXPECT_TRUE(registry.IsNewest("inside", 1)) << "a worker whose call is being answered is not forgotten";
  EXPECT_TRUE(registry.IsNewest(absl::StrCat("w", kMany - 1), 1));
  EXPECT_FALSE(registry.IsNewest("w0", 1));

  ASSERT_OK_AND_ASSIGN(const auto again, registry.Enter(Request("w0")));
  EXPECT_EQ(again.call, 1) << "as if it were new";
}

}  // namespace
}  // namespace quantd
