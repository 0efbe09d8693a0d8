// The arithmetic of "who is next": docs/scheduling.md has the policy, this header its formulas. The store's queries,
// the scheduler and the simulation mean the same by them.
//
// Tenants first: each has a virtual time, the number of its dispatches divided by its weight; the least goes first, so
// that over any stretch in which they all have jobs the dispatches are shared as the weights are. Within a tenant: by
// rank, the least first.
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

// Of a tenant after one more dispatch. weight > 0.
inline double VirtualTimeAfterDispatch(double virtual_time, double weight) {
  return virtual_time + 1 / weight;
}

// Of a tenant whose first job arrives while it had none: what it did not use while it was idle is not saved up.
// `least_of_busy`: the least virtual time of the tenants with waiting jobs, or of the last dispatch when there are
// none.
inline double VirtualTimeAfterIdle(double virtual_time, double least_of_busy) {
  return std::max(virtual_time, least_of_busy);
}

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_FAIR_ORDER_H_
