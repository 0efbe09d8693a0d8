// Between a row of the table `jobs` and a JobRecord.
#ifndef QUANTD_SERVER_STORE_JOB_ROWS_H_
#define QUANTD_SERVER_STORE_JOB_ROWS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/job_record.h"
#include "server/store/sqlite_connection.h"

namespace quantd {

// Columns in the order that ReadJobRow expects, for use after SELECT.
inline constexpr char kJobColumns[] =
    "sequence, id, state, revision, fence, attempt, worker, incarnation, create_us, start_us, end_us, "
    "lease_deadline_us, run_after_us, spec, progress, error, artifact";

// The current row. DATA_LOSS STORE_CORRUPT when a stored message does not parse.
absl::StatusOr<JobRecord> ReadJobRow(const Statement& row);

// Inserts; sets record.sequence.
absl::Status InsertJobRow(SqliteConnection& connection, JobRecord& record);

// Writes `after` over the row only if it still has the state, fence and revision of `before`: ABORTED STORE_CONFLICT
// when somebody else was first.
absl::Status UpdateJobRow(SqliteConnection& connection, const JobRecord& before, const JobRecord& after);

// The job without its spec, which never changes and is joined again on reading.
std::string EventSnapshot(const JobRecord& record);

// Times are stored and shown in whole microseconds.
int64_t TimestampMicros(const google::protobuf::Timestamp& timestamp);
void SetTimestamp(absl::Time time, google::protobuf::Timestamp* timestamp);
absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp);

// "cpu", "cuda" or "auto"; "auto" also for the empty device of a spec.
std::string DeviceOf(const v1::QuantJobSpec& spec);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_ROWS_H_
