// What the job store asks its tables about jobs. All run inside the caller's Read or Write.
#ifndef QUANTD_SERVER_STORE_JOB_QUERIES_H_
#define QUANTD_SERVER_STORE_JOB_QUERIES_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

absl::StatusOr<JobRecord> ReadJob(SqlConnection& connection, absl::string_view id);
// The same, to be changed in this transaction: on PostgreSQL nobody else changes it meanwhile.
absl::StatusOr<JobRecord> ReadJobForUpdate(SqlConnection& connection, absl::string_view id);

absl::StatusOr<std::vector<JobRecord>> ReadJobs(SqlConnection& connection, const JobQuery& query);

absl::StatusOr<std::vector<JobRecord>> ReadLeased(SqlConnection& connection, absl::string_view worker);
absl::StatusOr<std::vector<JobRecord>> ReadLeaseExpired(SqlConnection& connection, absl::Time now, int limit);
absl::StatusOr<std::vector<JobRecord>> ReadOverdue(SqlConnection& connection, absl::Time now, int limit);

absl::StatusOr<std::optional<v1::QuantReport>> ReadReport(SqlConnection& connection, absl::string_view id);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_QUERIES_H_
