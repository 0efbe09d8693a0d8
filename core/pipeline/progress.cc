#include "core/pipeline/progress.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr double kLeastFractionForEta = 0.02;  // below it an extrapolation says nothing

}  // namespace

Progress::Progress(ProgressCallback callback, const std::atomic<bool>* cancelled)
    : callback_(std::move(callback)), cancelled_(cancelled), start_(absl::Now()), phase_start_(start_) {}

absl::Status Progress::BeginPhase(absl::string_view phase) {
  const absl::Time now = absl::Now();
  if (!state_.phase.empty()) phase_seconds_[state_.phase] += absl::ToDoubleSeconds(now - phase_start_);
  phase_start_ = now;
  state_.phase = std::string(phase);
  state_.layer.clear();
  return Publish();
}

void Progress::Resume(double multiply_adds, int blocks_done) {
  done_ = multiply_adds;
  state_.block = blocks_done;
  if (total_ > 0) state_.fraction = std::clamp(done_ / total_, 0.0, 1.0);
  resumed_fraction_ = state_.fraction;
}

absl::Status Progress::SetBlock(int blocks_done) {
  state_.block = blocks_done;
  return Publish();
}

absl::Status Progress::SetLayer(absl::string_view layer) {
  state_.layer = std::string(layer);
  return Publish();
}

absl::Status Progress::Advance(double multiply_adds) {
  done_ += multiply_adds;
  if (total_ > 0) state_.fraction = std::clamp(done_ / total_, state_.fraction, 1.0);
  if (const double own = state_.fraction - resumed_fraction_; own > kLeastFractionForEta) {
    const double elapsed_seconds = absl::ToDoubleSeconds(absl::Now() - start_);
    state_.eta_seconds = elapsed_seconds / own * (1 - state_.fraction);
  }
  return Publish();
}

std::map<std::string, double> Progress::phase_seconds() const {
  std::map<std::string, double> seconds = phase_seconds_;
  if (!state_.phase.empty()) seconds[state_.phase] += absl::ToDoubleSeconds(absl::Now() - phase_start_);
  return seconds;
}

absl::Status Progress::Publish() {
  if (callback_) callback_(state_);
  if (!cancelled()) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kCancelled, "CANCELLED", "the job was cancelled");
}

}  // namespace quantd
