// The job that a request names.
#ifndef QUANTD_SERVER_API_FIND_JOB_H_
#define QUANTD_SERVER_API_FIND_JOB_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/job_store.h"

namespace quantd {

// INVALID_ARGUMENT NAME_INVALID; NOT_FOUND JOB_NOT_FOUND, also for a job of another tenant than the name says: what
// others have looks like what nobody has.
absl::StatusOr<JobRecord> FindJob(JobStore& store, absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_FIND_JOB_H_
