// The implementation of programs that users run: nothing.
#include "core/base/fail_point.h"

#include "core/base/status.h"

namespace quantd {

absl::Status PassFailPoint(DurableStep /*step*/, FailPointSide /*side*/) {
  return absl::OkStatus();
}

absl::Status SetFailPoints(absl::string_view /*text*/) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "FAIL_POINTS_ABSENT", "this program has no fail points");
}

std::map<std::string, int64_t> FailPointCounts() {
  return {};
}

}  // namespace quantd
