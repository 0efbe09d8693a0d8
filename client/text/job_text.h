// Jobs for people.
#ifndef QUANTD_CLIENT_TEXT_JOB_TEXT_H_
#define QUANTD_CLIENT_TEXT_JOB_TEXT_H_

#include <string>
#include <vector>

#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// Everything about one job, one line a property; times in UTC.
std::string JobText(const v1::QuantJob& job);

// One line a job.
std::string JobTable(const std::vector<v1::QuantJob>& jobs);

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_JOB_TEXT_H_
