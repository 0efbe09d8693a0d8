// How many jobs there are of each kind, and what their artifacts take: rows that every transition moves in its own
// transaction, so that counting never looks at jobs.
//
// On PostgreSQL each kind has several rows (shards), of which a transaction takes any: else all writers of a tenant
// would wait for one row. Only their sum means something; a single one may be negative.
#ifndef QUANTD_SERVER_STORE_TALLIES_H_
#define QUANTD_SERVER_STORE_TALLIES_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// A job that was `before` is now `after`. nullptr: it did not exist, or is gone.
absl::Status MoveTally(SqlConnection& connection, const JobRecord* before, const JobRecord* after);

absl::StatusOr<std::map<JobState, int64_t>> ReadCountByState(SqlConnection& connection);
absl::StatusOr<std::map<std::string, TenantCounts>> ReadCountByTenant(SqlConnection& connection);
absl::StatusOr<QueueSummary> ReadQueueSummary(SqlConnection& connection);

// RESOURCE_EXHAUSTED QUOTA_QUEUED_JOBS, QUOTA_STORED_BYTES.
absl::Status CheckLimits(SqlConnection& connection, absl::string_view tenant, const SubmitLimits& limits);

// What a claim needs to know of a tenant.
struct TenantQueue {
  std::map<std::string, int64_t> queued_by_device;
  int64_t running = 0;  // with a lease
};
absl::StatusOr<std::map<std::string, TenantQueue>> ReadTenantQueues(SqlConnection& connection);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_TALLIES_H_
