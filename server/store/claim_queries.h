// Whose turn it is: see ClaimQuery.
//
// Virtual times are those of start-time fair queuing. A tenant that is served begins at max(its own time, the time at
// which the tenant served last began) and its time grows by 1 / weight: a tenant with jobs waiting is never behind that
// clock for long, and one that was idle continues at it. Nothing needs to be done when a queue becomes empty or not.
#ifndef QUANTD_SERVER_STORE_CLAIM_QUERIES_H_
#define QUANTD_SERVER_STORE_CLAIM_QUERIES_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// Whether a claim would find a job now.
absl::StatusOr<bool> AnyClaimable(SqlConnection& connection, const ClaimQuery& query);

// The job whose turn it is, its tenant charged for it; nothing when none fits. For use inside a Write; jobs that
// another server's transaction is about to take are passed over.
absl::StatusOr<std::optional<JobRecord>> TakeNext(SqlConnection& connection, const ClaimQuery& query);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_CLAIM_QUERIES_H_
