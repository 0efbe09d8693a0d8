// Specs whose checks passed a moment ago, and their estimates: a burst of equal submissions reads the model's folder
// once.
#ifndef QUANTD_SERVER_API_RECENT_CHECKS_H_
#define QUANTD_SERVER_API_RECENT_CHECKS_H_

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// How long a passed check holds. A model that is moved away meanwhile fails the job instead of its submission, which
// can happen to any queued job; longer would only make that more likely.
inline constexpr std::chrono::milliseconds kCheckHolds(100);

// Thread-safe.
class RecentChecks {
 public:
  // `spec`: the serialized spec.
  std::optional<v1::JobEstimate> Find(const std::string& spec) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = passed_.find(spec);
    if (found == passed_.end() || std::chrono::steady_clock::now() >= found->second.until) return std::nullopt;
    return found->second.estimate;
  }

  void Put(const std::string& spec, const v1::JobEstimate& estimate) {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Most are out of date by then.
    if (passed_.size() >= kMostSpecs) passed_.clear();
    passed_.insert_or_assign(spec, Passed{estimate, std::chrono::steady_clock::now() + kCheckHolds});
  }

 private:
  static constexpr size_t kMostSpecs = 256;
  struct Passed {
    v1::JobEstimate estimate;
    std::chrono::steady_clock::time_point until;
  };

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Passed> passed_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_RECENT_CHECKS_H_
