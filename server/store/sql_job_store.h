// JobStore over SQL, written once for every engine (sql_database.h). What it asks and writes is in the files by topic:
// job_queries, job_changes, claim_queries, event_log, request_ids, tallies, audit_log, retention_queries.
#ifndef QUANTD_SERVER_STORE_SQL_JOB_STORE_H_
#define QUANTD_SERVER_STORE_SQL_JOB_STORE_H_

#include <memory>

#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// `database` has the tables of kSchemaVersion.
std::unique_ptr<JobStore> NewSqlJobStore(std::unique_ptr<SqlDatabase> database);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQL_JOB_STORE_H_
