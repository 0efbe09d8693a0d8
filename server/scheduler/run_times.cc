#include "server/scheduler/run_times.h"

#include <algorithm>
#include <vector>

#include "core/base/status.h"
#include "server/store/job_rows.h"

namespace quantd {

void RunTimes::Learn(const v1::QuantJob& job) {
  const Run run = {job.estimate().multiply_adds(), job.actuals().run_seconds()};
  const bool telling = run.multiply_adds > 0 && run.seconds > 0 && job.actuals().resumed_from_block() == 0;
  if (!telling) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::deque<Run>& runs = runs_[DeviceOf(job.spec())];
  runs.push_back(run);
  if (runs.size() > kRemembered) runs.pop_front();
}

absl::Status RunTimes::LearnFrom(JobStore& store) {
  ASSIGN_OR_RETURN(const auto tenants, store.CountByTenant());
  std::vector<JobRecord> newest;
  for (const auto& [tenant, counts] : tenants) {
    JobQuery query;
    query.tenant = tenant;
    query.states = {v1::QuantJob::SUCCEEDED};
    query.limit = kRemembered;
    ASSIGN_OR_RETURN(const std::vector<JobRecord> records, store.List(query));
    newest.insert(newest.end(), records.begin(), records.end());
  }
  std::sort(newest.begin(), newest.end(),
            [](const JobRecord& a, const JobRecord& b) { return a.sequence < b.sequence; });
  for (const JobRecord& record : newest) Learn(record.job);
  return absl::OkStatus();
}

double RunTimes::Estimate(const v1::QuantJobSpec& spec, const v1::JobEstimate& estimate) const {
  Run all;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = runs_.find(DeviceOf(spec));
  if (found == runs_.end() || estimate.multiply_adds() <= 0) return 0;
  for (const Run& run : found->second) {
    all.multiply_adds += run.multiply_adds;
    all.seconds += run.seconds;
  }
  return estimate.multiply_adds() * (all.seconds / all.multiply_adds);
}

}  // namespace quantd
