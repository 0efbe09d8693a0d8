// Between a row of the table `jobs` and a JobRecord.
#ifndef QUANTD_SERVER_STORE_JOB_ROWS_H_
#define QUANTD_SERVER_STORE_JOB_ROWS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/job_record.h"
#include "server/store/sql_database.h"

namespace quantd {

// "SELECT {every column that a record needs} FROM jobs {rest}".
std::string SelectJobs(absl::string_view rest);

// Rows of a statement made with SelectJobs. DATA_LOSS STORE_CORRUPT when a stored message does not parse.
absl::StatusOr<std::optional<JobRecord>> ReadOneJob(SqlStatement& statement);
absl::StatusOr<std::vector<JobRecord>> ReadAllJobs(SqlStatement& statement);

// Inserts; sets record.sequence. `rank_us`: see ClaimQuery.
absl::Status InsertJobRow(SqlConnection& connection, JobRecord& record, int64_t rank_us);

// Writes `after` over the row only if it still has the state, fence and revision of `before`: ABORTED STORE_CONFLICT
// when somebody else was first.
absl::Status UpdateJobRow(SqlConnection& connection, const JobRecord& before, const JobRecord& after);

// The job without its spec, which never changes and is joined again on reading.
std::string EventSnapshot(const JobRecord& record);

// When a job that is still queued has waited too long, by its spec; infinite future: never.
absl::Time QueueDeadline(const v1::QuantJob& job);

// Bytes that the job keeps in the artifact store: 0 without an artifact, or when it is expired.
int64_t StoredBytes(const v1::QuantJob& job);

// Times are stored and shown in whole microseconds.
int64_t TimestampMicros(const google::protobuf::Timestamp& timestamp);
void SetTimestamp(absl::Time time, google::protobuf::Timestamp* timestamp);
absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp);

// "cpu", "cuda" or "auto"; "auto" also for the empty device of a spec.
std::string DeviceOf(const v1::QuantJobSpec& spec);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_ROWS_H_
