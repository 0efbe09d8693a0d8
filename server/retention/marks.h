// What retention and users write on jobs that have ended: pure functions on a record, for JobStore::Update.
//
// The order of every removal: first the mark on the row, then the files, last the row. A crash between two of them
// leaves work that the next pass finds by the mark.
#ifndef QUANTD_SERVER_RETENTION_MARKS_H_
#define QUANTD_SERVER_RETENTION_MARKS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/store/job_record.h"

namespace quantd {

// Hidden from now on, to be purged after `window`. FAILED_PRECONDITION JOB_NOT_FINISHED; ALREADY_DELETED, nothing to
// do.
absl::Status MarkDeleted(JobRecord& record, absl::Time now, absl::Duration window, const AuditNote& note);
inline constexpr char kAlreadyDeleted[] = "ALREADY_DELETED";

// FAILED_PRECONDITION JOB_NOT_DELETED; UNDELETE_TOO_LATE once purge_time has passed: its files may be gone.
absl::Status TakeBack(JobRecord& record, absl::Time now, const AuditNote& note);

// The artifact's files may go: nobody is offered them any more. FAILED_PRECONDITION NOTHING_TO_EXPIRE.
absl::Status MarkExpired(JobRecord& record, const AuditNote& note);

}  // namespace quantd

#endif  // QUANTD_SERVER_RETENTION_MARKS_H_
