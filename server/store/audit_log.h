// The audit log: one row for every change of a job, or of the store as a whole, written with it and never changed;
// dropped by age alone.
#ifndef QUANTD_SERVER_STORE_AUDIT_LOG_H_
#define QUANTD_SERVER_STORE_AUDIT_LOG_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// Nothing when the note has no action.
absl::Status InsertAudit(SqlConnection& connection, const JobRecord& record, const AuditNote& note, absl::Time now);

// Of a change that is of no job: an upgrade of the tables, a repair. Its tenant and job are empty.
absl::Status InsertServiceAudit(SqlConnection& connection, const AuditNote& note, absl::Time now);

// At most `limit` rows from before `before`, the oldest first; never the newest of all, whose number would be given
// again.
absl::StatusOr<int64_t> DeleteOldAudit(SqlConnection& connection, absl::Time before, int limit);

absl::StatusOr<std::vector<AuditRow>> ReadAudit(SqlConnection& connection, const AuditQuery& query);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_AUDIT_LOG_H_
