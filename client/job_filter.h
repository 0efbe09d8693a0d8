// Which jobs a list shows, as the filter text of ListQuantJobs.
#ifndef QUANTD_CLIENT_JOB_FILTER_H_
#define QUANTD_CLIENT_JOB_FILTER_H_

#include <string>
#include <vector>

namespace quantd {

// Empty members do not restrict.
struct JobFilter {
  std::vector<std::string> states;  // any of them; either case
  std::string recipe;
  std::string model;
};

// For example: state = QUEUED OR RUNNING AND recipe = "gptq". OR binds tighter than AND. Empty for every job.
std::string FilterText(const JobFilter& filter);

}  // namespace quantd

#endif  // QUANTD_CLIENT_JOB_FILTER_H_
