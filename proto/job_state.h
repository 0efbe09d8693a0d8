// What both sides say about the states of a job. The machine itself is the server's (docs/job-states.md).
#ifndef QUANTD_PROTO_JOB_STATE_H_
#define QUANTD_PROTO_JOB_STATE_H_

#include <string>
#include <vector>

#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// SUCCEEDED, REJECTED, FAILED, CANCELLED: these never change again. A state that this build does not know (a newer
// server's) is not terminal.
bool IsTerminal(v1::QuantJob::State state);

// SUCCEEDED and REJECTED: there are an artifact and a report.
bool HasResult(v1::QuantJob::State state);

// RUNNING and CANCELLING: a worker holds a lease.
bool HasLease(v1::QuantJob::State state);

// "QUEUED"; "STATE_42" for a number that this build does not know.
std::string StateName(v1::QuantJob::State state);

// The names of all states that a job can be in.
std::vector<std::string> StateNames();

}  // namespace quantd

#endif  // QUANTD_PROTO_JOB_STATE_H_
