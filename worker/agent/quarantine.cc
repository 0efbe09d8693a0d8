#include "worker/agent/quarantine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"

namespace quantd {

void Quarantine::Record(const v1::FinishedJob& finished, TimePoint now) {
  const bool crashed = finished.outcome() == v1::FinishedJob::OUTCOME_CRASHED;
  // A job that failed for a reason of its own ran well as far as the host is concerned.
  if (finished.outcome() == v1::FinishedJob::OUTCOME_SUCCEEDED ||
      finished.outcome() == v1::FinishedJob::OUTCOME_FAILED) {
    crashed_.clear();
    pause_ = options_.first_pause;
  }
  if (!crashed) return;
  crashed_.insert(finished.job());
  last_error_ = absl::StrCat(finished.error().reason(), ": ", finished.error().message());
  if (static_cast<int>(crashed_.size()) < options_.crashed_jobs) return;
  until_ = now + absl::ToChronoNanoseconds(pause_);
  Log(Severity::kError, "worker_quarantined", {{"for", absl::FormatDuration(pause_)}}, Why(now));
  pause_ = std::min(pause_ * 2, options_.longest_pause);
}

absl::Duration Quarantine::Left(TimePoint now) const {
  return std::max(absl::FromChrono(until_ - now), absl::ZeroDuration());
}

std::string Quarantine::Why(TimePoint now) const {
  if (Left(now) == absl::ZeroDuration()) return "";
  return absl::StrFormat("%d different jobs crashed on this worker in a row, the last with %s; it takes no work for %s",
                         crashed_.size(), last_error_.substr(0, 500), absl::FormatDuration(Left(now)));
}

}  // namespace quantd
