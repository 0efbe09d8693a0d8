// The arrows of docs/job-states.md as pure functions on a record: who may change what, and what goes with it.
//
// Each fits JobStore::Update. A worker's change carries the fence of its lease: ABORTED STALE_LEASE when that is not
// the newest or the job is not leased any more, and nothing changes.
#ifndef QUANTD_SERVER_SCHEDULER_TRANSITIONS_H_
#define QUANTD_SERVER_SCHEDULER_TRANSITIONS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "quantd/v1/worker_service.pb.h"
#include "server/store/job_record.h"

namespace quantd {

// Attempts that may be lost to the infrastructure before the job itself is held to be the cause, unless its spec says
// otherwise.
inline constexpr int kDefaultMaxAttempts = 3;
int MaxAttempts(const v1::QuantJobSpec& spec);

// The pause after the first crash of a job is this long, then 6 times and 24 times that: 5 s, 30 s, 2 min.
struct RequeuePolicy {
  absl::Duration first_pause = absl::Seconds(5);
};

// How an attempt was lost: its child died (told at once), or its worker went silent. The end of a lease was a pause
// already, so after it the job goes on one step sooner, at first without any further pause.
enum class Loss { kCrash, kLease };

// Before the next attempt of a job whose attempt `record.job.attempt()` was lost. Up to a fifth longer than the table
// says, by a number that depends on job and fence alone, so that jobs lost together do not come back together.
absl::Duration RequeueDelay(const RequeuePolicy& policy, const JobRecord& record, Loss loss);

struct LeaseHolder {
  std::string worker;
  std::string incarnation;
};

// QUEUED -> RUNNING: the fence and the attempt grow, the progress begins anew. With a run timeout the attempt has until
// that and one lease more: its worker ends it in time, the server only when the worker does not.
absl::Status StartAttempt(JobRecord& record, const LeaseHolder& holder, absl::Time now, absl::Duration lease);

// RUNNING, CANCELLING: the lease lasts `lease` from `now`. The fraction never falls within an attempt.
absl::Status RenewLease(JobRecord& record, const v1::RunningJob& running, absl::Time now, absl::Duration lease);

// What a worker says about the end of its child. RUNNING goes where the outcome says; CANCELLING always to CANCELLED:
// the first commit wins, and that was the cancel. OUTCOME_RETURNED requeues without charging the attempt;
// OUTCOME_CRASHED, and OUTCOME_CANCELLED of a job that nobody cancelled, requeue and charge; after the last attempt the
// job is FAILED with what the worker said.
absl::Status EndAttempt(JobRecord& record, const v1::FinishedJob& finished, const RequeuePolicy& policy,
                        absl::Time now);

// The worker is gone (`cause` is a phrase: "worker w1 did not renew its lease"). CANCELLING -> CANCELLED; RUNNING ->
// QUEUED, or FAILED with WORKER_LOST after the last attempt.
absl::Status LoseAttempt(JobRecord& record, const std::string& cause, const RequeuePolicy& policy, absl::Time now);

// QUEUED past its queue deadline -> FAILED with UNSCHEDULABLE when `obstacle` says why no worker can run it, else
// QUEUE_DEADLINE; RUNNING past its run deadline -> FAILED with RUN_DEADLINE. ABORTED when neither is so any more.
absl::Status FailOverdue(JobRecord& record, const std::string& obstacle, absl::Time now);

// QUEUED -> CANCELLED, RUNNING -> CANCELLING. Else FAILED_PRECONDITION NOTHING_TO_CANCEL.
absl::Status RequestCancel(JobRecord& record, absl::Time now);

// For the audit log: who made the change that led to `after`.
AuditNote NoteOf(const JobRecord& after, const std::string& actor);

// ABORTED STALE_LEASE unless the job is leased with this fence.
absl::Status CheckFence(const JobRecord& record, int64_t fence);

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_TRANSITIONS_H_
