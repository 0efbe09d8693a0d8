#include "server/api/find_job.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/api/resource_names.h"

namespace quantd {

absl::StatusOr<JobRecord> FindJob(JobStore& store, absl::string_view name) {
  ASSIGN_OR_RETURN(const JobNameParts parts, ParseJobName(name));
  absl::StatusOr<JobRecord> record = store.Get(parts.job);
  const bool foreign = record.ok() && record->tenant != parts.tenant;
  if (!foreign && ReasonOf(record.status()) != "JOB_NOT_FOUND") return record;
  return ReasonError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
                     absl::StrFormat("there is no job '%s'; list the jobs to see their names", name));
}

}  // namespace quantd
