// How fast a tenant may submit: a bucket that holds at most `burst` tokens and gains `per_second` of them; a submission
// takes one.
#ifndef QUANTD_SERVER_SCHEDULER_TOKEN_BUCKET_H_
#define QUANTD_SERVER_SCHEDULER_TOKEN_BUCKET_H_

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantd {

struct BucketShape {
  double per_second = 0;  // 0: no limit
  double burst = 1;       // at least 1
};

// Begins full. Not thread-safe.
class TokenBucket {
 public:
  explicit TokenBucket(double tokens) : tokens_(tokens) {}

  // Zero: a token was taken. Else none was, and so long it takes until there is one.
  absl::Duration Take(const BucketShape& shape, absl::Time now) {
    if (last_ != absl::InfinitePast()) tokens_ += shape.per_second * absl::ToDoubleSeconds(now - last_);
    tokens_ = std::min(tokens_, shape.burst);
    last_ = now;
    if (tokens_ < 1) return absl::Seconds((1 - tokens_) / shape.per_second);
    tokens_ -= 1;
    return absl::ZeroDuration();
  }
  absl::Time last_used() const { return last_; }

 private:
  double tokens_;
  absl::Time last_ = absl::InfinitePast();
};

// One bucket a tenant. Memory is bounded: beyond kMaxTenants the bucket that was not used for longest is forgotten, and
// begins full again. Thread-safe.
class SubmitRates {
 public:
  static constexpr size_t kMaxTenants = 4096;

  // As TokenBucket::Take.
  absl::Duration Take(absl::string_view tenant, const BucketShape& shape, absl::Time now) {
    if (shape.per_second <= 0) return absl::ZeroDuration();
    const std::lock_guard<std::mutex> lock(mutex_);
    auto found = buckets_.find(tenant);
    if (found == buckets_.end()) {
      MakeRoom();
      found = buckets_.emplace(tenant, TokenBucket(shape.burst)).first;
    }
    return found->second.Take(shape, now);
  }

 private:
  void MakeRoom() {
    if (buckets_.size() < kMaxTenants) return;
    const auto earlier = [](const auto& a, const auto& b) { return a.second.last_used() < b.second.last_used(); };
    buckets_.erase(std::min_element(buckets_.begin(), buckets_.end(), earlier));
  }

  std::mutex mutex_;
  std::map<std::string, TokenBucket, std::less<>> buckets_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_TOKEN_BUCKET_H_
