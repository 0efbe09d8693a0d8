// The text that arms fail points, parsed: see core/base/fail_point.h.
#ifndef QUANTD_TESTS_TESTING_FAIL_POINTS_FAIL_POINT_RULES_H_
#define QUANTD_TESTS_TESTING_FAIL_POINTS_FAIL_POINT_RULES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantd {

enum class FailPointAction { kExit, kSleep, kError };

struct FailPointRule {
  FailPointAction action = FailPointAction::kExit;
  absl::Duration sleep = absl::ZeroDuration();
  int64_t only_pass = 0;  // counted from 1; 0: every pass
};

// By point, in the order of the durable steps: "submit.commit.before", "submit.commit.after", ...
std::vector<std::string> FailPointNames();

// Empty text arms nothing. INVALID_ARGUMENT FAIL_POINT_UNKNOWN, FAIL_POINT_ACTION_INVALID.
absl::StatusOr<std::map<std::string, FailPointRule>> ParseFailPoints(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_FAIL_POINTS_FAIL_POINT_RULES_H_
