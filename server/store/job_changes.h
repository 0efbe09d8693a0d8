// What goes with every change of a job, in one transaction: the guarded row, its revision, event, tally, file
// references and audit row.
#ifndef QUANTD_SERVER_STORE_JOB_CHANGES_H_
#define QUANTD_SERVER_STORE_JOB_CHANGES_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// A job that did not exist yet.
absl::StatusOr<JobRecord> InsertJob(SqlConnection& connection, const NewJob& job, absl::Time now);

// `record` as the transaction read it; as written afterwards.
absl::Status ChangeJob(SqlConnection& connection, JobRecord& record, const JobMutator& mutate, absl::Time now);

absl::Status InsertReport(SqlConnection& connection, const v1::QuantReport& report, int64_t sequence);

// See JobStore::Purge.
absl::Status PurgeJob(SqlConnection& connection, const JobRecord& record, const AuditNote& note, absl::Time now);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_CHANGES_H_
