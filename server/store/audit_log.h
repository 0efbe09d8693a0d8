// The audit log: one row for every change of a job, written with it and never changed.
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

absl::StatusOr<std::vector<AuditRow>> ReadAudit(SqlConnection& connection, const AuditQuery& query);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_AUDIT_LOG_H_
