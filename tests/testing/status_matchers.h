// EXPECT_OK, ASSERT_OK_AND_ASSIGN and a matcher for reasons: Abseil 20220623 ships none.
#ifndef QUANTD_TESTS_TESTING_STATUS_MATCHERS_H_
#define QUANTD_TESTS_TESTING_STATUS_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "core/base/status.h"

namespace quantd {

inline const absl::Status& AsStatus(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& AsStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << AsStatus(arg).ToString();
  return AsStatus(arg).ok();
}

// The status has this stable reason and its message mentions `text`.
MATCHER_P2(FailsWith, reason, text, "fails with the given reason and mentions the given text") {
  const absl::Status& status = AsStatus(arg);
  *result_listener << "reason '" << ReasonOf(status) << "': " << status.ToString();
  return ReasonOf(status) == reason && absl::StrContains(status.message(), text);
}

}  // namespace quantd

#define EXPECT_OK(expr) EXPECT_THAT(expr, ::quantd::IsOk())
#define ASSERT_OK(expr) ASSERT_THAT(expr, ::quantd::IsOk())
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_IMPL(QUANTD_CONCAT(quantd_test_statusor_, __LINE__), lhs, expr)
#define ASSERT_OK_AND_ASSIGN_IMPL(statusor, lhs, expr) \
  auto statusor = (expr);                              \
  ASSERT_THAT(statusor, ::quantd::IsOk());             \
  lhs = *std::move(statusor)

#endif  // QUANTD_TESTS_TESTING_STATUS_MATCHERS_H_
