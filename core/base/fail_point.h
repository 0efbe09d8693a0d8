// Places where a test can make a process die, wait or fail. They exist only in test builds: programs that users run
// link the empty implementation, the unit tests and the programs in crashtest/ of the build folder the other one
// (tests/testing/fail_points, cmake/QuantdTargets.cmake).
//
// In a test build the environment variable QUANTD_FAIL_POINTS, or SetFailPoints, arms them:
//   submit.commit.after=exit            the process ends at once, like kill -9
//   claim.commit.before=sleep:250       waits 250 ms
//   publish.commit.before=error         the step is not done and fails, UNAVAILABLE FAIL_POINT
//   publish.commit.after=error          the step is done and reported as failed
//   renew.commit.before=exit@3          only the third time it is passed; several points are separated by ';'
// A process whose variable names an unknown point or action ends at once with exit code 2.
//
// QUANTD_FAIL_POINT_DIR names a folder that the processes of one test share: each pass appends the point's name and a
// newline to `passed`, and an armed point acts in one process once, which leaves a file of the point's name there. Its
// file `armed.PROGRAM` (armed.quantd) arms the running processes of that program instead of what they were started with:
// each pass looks at it. Replace it by a rename, a file half written would be a mistake like any other.
#ifndef QUANTD_CORE_BASE_FAIL_POINT_H_
#define QUANTD_CORE_BASE_FAIL_POINT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantd {

enum class DurableStep;
enum class FailPointSide { kBefore, kAfter };

absl::Status PassFailPoint(DurableStep step, FailPointSide side);

// Test builds only; the empty implementation answers FAILED_PRECONDITION FAIL_POINTS_ABSENT and {}.
// INVALID_ARGUMENT FAIL_POINT_UNKNOWN, FAIL_POINT_ACTION_INVALID.
absl::Status SetFailPoints(absl::string_view text);
// How often each point was passed since the start of the process.
std::map<std::string, int64_t> FailPointCounts();

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_FAIL_POINT_H_
