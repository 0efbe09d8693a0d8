// A job as the server knows it: what users see (QuantJob) and what only the scheduler needs.
#ifndef QUANTD_SERVER_STORE_JOB_RECORD_H_
#define QUANTD_SERVER_STORE_JOB_RECORD_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

using JobState = v1::QuantJob::State;

struct JobRecord {
  std::string id;                                    // last part of job.name(); unique on this server
  int64_t sequence = 0;                              // order of submission, growing
  v1::QuantJob job;                                  // `conditions` are not stored
  int64_t fence = 0;                                 // raised by every claim, never lowered
  std::string incarnation;                           // of the worker that holds the lease; empty without one
  absl::Time lease_deadline = absl::InfinitePast();  // infinite past: no lease
  absl::Time run_after = absl::InfinitePast();       // a queued job is not claimed before; infinite past: at once
};

// SUCCEEDED, REJECTED, FAILED, CANCELLED: these never change again.
bool IsTerminal(JobState state);
// RUNNING and CANCELLING: a worker holds a lease.
bool HasLease(JobState state);

// The state machine of docs/job-states.md: may a job in state `from` be written with state `to`?
// `from` == STATE_UNSPECIFIED stands for a job that does not exist yet.
bool IsLegalTransition(JobState from, JobState to);

// "QUEUED"; numbers outside the enum give "UNKNOWN".
std::string StateName(JobState state);

// "tenants/default/jobs/{id}".
std::string JobName(absl::string_view id);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_RECORD_H_
