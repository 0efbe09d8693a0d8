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

// Attempts that may be lost to dying workers before the job itself is held to be the cause.
inline constexpr int kMaxAttempts = 3;
// The pause before attempt n + 1, by the number n of attempts lost.
absl::Duration RequeueDelay(int lost_attempts);

struct LeaseHolder {
  std::string worker;
  std::string incarnation;
};

// QUEUED -> RUNNING: the fence and the attempt grow, the progress begins anew.
absl::Status StartAttempt(JobRecord& record, const LeaseHolder& holder, absl::Time now, absl::Duration lease);

// RUNNING, CANCELLING: the lease lasts `lease` from `now`. The fraction never falls within an attempt.
absl::Status RenewLease(JobRecord& record, const v1::RunningJob& running, absl::Time now, absl::Duration lease);

// What a worker says about the end of its child. RUNNING goes where the outcome says; CANCELLING always to CANCELLED:
// the first commit wins, and that was the cancel. OUTCOME_RETURNED requeues without charging the attempt;
// OUTCOME_CANCELLED of a job that nobody cancelled requeues it and charges.
absl::Status EndAttempt(JobRecord& record, const v1::FinishedJob& finished, absl::Time now);

// The worker is gone (`cause` is a phrase: "worker w1 did not renew its lease"). CANCELLING -> CANCELLED; RUNNING ->
// QUEUED, or FAILED with WORKER_LOST after kMaxAttempts.
absl::Status LoseAttempt(JobRecord& record, const std::string& cause, absl::Time now);

// QUEUED -> CANCELLED, RUNNING -> CANCELLING. Else FAILED_PRECONDITION NOTHING_TO_CANCEL.
absl::Status RequestCancel(JobRecord& record, absl::Time now);

// ABORTED STALE_LEASE unless the job is leased with this fence.
absl::Status CheckFence(const JobRecord& record, int64_t fence);

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_TRANSITIONS_H_
