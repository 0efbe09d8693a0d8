#include "server/store/job_record.h"

namespace quantd {
namespace {

using v1::QuantJob;

struct Transition {
  JobState from;
  JobState to;
};

// Every arrow there is. RUNNING -> RUNNING and CANCELLING -> CANCELLING renew the lease or carry progress; a terminal
// state to itself marks deletion and expiry (KeepsResult).
constexpr Transition kTransitions[] = {
    {QuantJob::STATE_UNSPECIFIED, QuantJob::QUEUED},
    {QuantJob::QUEUED, QuantJob::RUNNING},
    {QuantJob::QUEUED, QuantJob::FAILED},
    {QuantJob::QUEUED, QuantJob::CANCELLED},
    {QuantJob::RUNNING, QuantJob::RUNNING},
    {QuantJob::RUNNING, QuantJob::QUEUED},
    {QuantJob::RUNNING, QuantJob::CANCELLING},
    {QuantJob::RUNNING, QuantJob::SUCCEEDED},
    {QuantJob::RUNNING, QuantJob::REJECTED},
    {QuantJob::RUNNING, QuantJob::FAILED},
    {QuantJob::CANCELLING, QuantJob::CANCELLING},
    {QuantJob::CANCELLING, QuantJob::CANCELLED},
    {QuantJob::SUCCEEDED, QuantJob::SUCCEEDED},
    {QuantJob::REJECTED, QuantJob::REJECTED},
    {QuantJob::FAILED, QuantJob::FAILED},
    {QuantJob::CANCELLED, QuantJob::CANCELLED},
};

// What KeepsResult compares.
std::string ResultBytes(QuantJob job) {
  job.clear_delete_time();
  job.clear_purge_time();
  if (job.has_artifact()) {
    job.mutable_artifact()->clear_expire_time();
    job.mutable_artifact()->clear_expired();
  }
  job.clear_spec();  // never changes
  return job.SerializeAsString();
}

}  // namespace

bool IsLegalTransition(JobState from, JobState to) {
  for (const Transition& transition : kTransitions) {
    if (transition.from == from && transition.to == to) return true;
  }
  return false;
}

bool KeepsResult(const QuantJob& before, const QuantJob& after) {
  return ResultBytes(before) == ResultBytes(after);
}

}  // namespace quantd
