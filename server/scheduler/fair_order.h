// The arithmetic of "who is next": docs/scheduling.md has the policy, this header its formulas. The store's queries and
// the simulation mean the same by them.
//
// Tenants first: each has a virtual time that grows by 1 / weight with each job of it that starts; the least goes
// first, so that over any stretch in which they all have jobs the starts are shared as the weights are. Within a
// tenant: by rank, the least first.
#ifndef QUANTD_SERVER_SCHEDULER_FAIR_ORDER_H_
#define QUANTD_SERVER_SCHEDULER_FAIR_ORDER_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace quantd {

inline constexpr int kMinPriority = -100;
inline constexpr int kMaxPriority = 100;

// Of a job within its tenant, in microseconds since 1970. Waiting for `ageing` is worth one step of priority. Since
// both jobs of a comparison age alike, the rank never changes and can be an index: a job of priority p is overtaken by
// one of priority q > p exactly when that was submitted less than (q - p) * ageing after it. Nothing overtakes a job
// that has waited (kMaxPriority - kMinPriority) * ageing.
inline int64_t RankMicros(absl::Time create_time, int priority, absl::Duration ageing) {
  return absl::ToUnixMicros(create_time) - priority * absl::ToInt64Microseconds(ageing);
}

// Virtual times are counted in millionths of a turn of weight 1, so that they are exact.
inline constexpr double kTurn = 1'000'000;
inline constexpr double kSmallestWeight = 0.001;

// What one job costs a tenant.
inline int64_t TurnCost(double weight) {
  return static_cast<int64_t>(kTurn / std::max(weight, kSmallestWeight));
}

// The virtual time at which a tenant's next job starts. `clock`: that of the job that started last, of any tenant. A
// tenant that was idle continues there: what it did not use is not saved up.
inline int64_t TurnStart(int64_t virtual_time, int64_t clock) {
  return std::max(virtual_time, clock);
}

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_FAIR_ORDER_H_
