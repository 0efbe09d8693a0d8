// What the SQLite store asks its tables. All run on the caller's connection, inside its transaction if there is one.
#ifndef QUANTD_SERVER_STORE_JOB_QUERIES_H_
#define QUANTD_SERVER_STORE_JOB_QUERIES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/job_store.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

absl::StatusOr<JobRecord> ReadJob(SqliteConnection& connection, absl::string_view id);
absl::StatusOr<std::vector<JobRecord>> ReadJobs(SqliteConnection& connection, const JobQuery& query);
absl::StatusOr<std::optional<JobRecord>> ReadFirstClaimable(SqliteConnection& connection, const ClaimQuery& query);
absl::StatusOr<std::vector<JobRecord>> ReadLeased(SqliteConnection& connection, absl::string_view worker);

// See JobStore::ChangesAfter.
absl::StatusOr<std::vector<v1::QuantJob>> ReadChangesAfter(SqliteConnection& connection, absl::string_view id,
                                                           int64_t revision);
absl::StatusOr<int64_t> ReadLastRevision(SqliteConnection& connection);
absl::StatusOr<std::optional<v1::QuantReport>> ReadReport(SqliteConnection& connection, absl::string_view id);
absl::StatusOr<std::map<JobState, int64_t>> ReadCountByState(SqliteConnection& connection);
absl::StatusOr<QueueSummary> ReadQueueSummary(SqliteConnection& connection);

// See JobStore::FindRequest.
absl::StatusOr<std::optional<JobRecord>> MatchRequest(SqliteConnection& connection, absl::string_view request_id,
                                                      const v1::QuantJobSpec& spec);

// RESOURCE_EXHAUSTED QUOTA_QUEUED_JOBS when `max_queued` > 0 jobs wait already.
absl::Status CheckQueueLimit(SqliteConnection& connection, int64_t max_queued);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_QUERIES_H_
