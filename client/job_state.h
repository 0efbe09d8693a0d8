// States of a job, as people and shells see them.
#ifndef QUANTD_CLIENT_JOB_STATE_H_
#define QUANTD_CLIENT_JOB_STATE_H_

#include <string>
#include <vector>

#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// A state this build does not know (a newer server) is not terminal.
bool IsTerminal(v1::QuantJob::State state);

// Its artifact can be downloaded and its report read.
bool HasResult(v1::QuantJob::State state);

// "QUEUED"; the number for a state this build does not know.
std::string StateName(v1::QuantJob::State state);

// Every name that a list may be filtered by.
std::vector<std::string> StateNames();

}  // namespace quantd

#endif  // QUANTD_CLIENT_JOB_STATE_H_
