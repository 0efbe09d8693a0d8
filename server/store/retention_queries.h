// What may be forgotten, and forgetting it. See the retention part of JobStore.
#ifndef QUANTD_SERVER_STORE_RETENTION_QUERIES_H_
#define QUANTD_SERVER_STORE_RETENTION_QUERIES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

absl::StatusOr<std::vector<std::string>> ReadRetirable(SqlConnection& connection, const RetentionQuery& query);
absl::StatusOr<std::vector<std::string>> ReadArtifactsToExpire(SqlConnection& connection, absl::Time now, int limit);
absl::StatusOr<std::vector<JobRecord>> ReadPurgeable(SqlConnection& connection, absl::Time now, int limit);

// Every row of the job.
absl::Status DeleteJobRows(SqlConnection& connection, int64_t sequence);

// Which files a job's artifact and checkpoint name: rows of artifact_files, written when either changes.
absl::Status UpdateFileReferences(SqlConnection& connection, const JobRecord* before, const JobRecord& after);
absl::StatusOr<std::vector<std::string>> ReadUnreferenced(SqlConnection& connection,
                                                          const std::vector<std::string>& sha256s);
absl::StatusOr<std::vector<FileReference>> ReadAllReferences(SqlConnection& connection);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_RETENTION_QUERIES_H_
