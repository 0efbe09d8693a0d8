// Whether a tenant may submit another job: its rate and its quotas.
//
// Check comes before anything that costs (planning a job takes a process) and answers from memory: the counts it
// compares with are at most kCountsAge old. The store checks the quotas again in the transaction that queues the job;
// that answer is exact. Rates are those of one server: with n servers behind one address a tenant may submit n times as
// fast.
#ifndef QUANTD_SERVER_SCHEDULER_ADMISSION_H_
#define QUANTD_SERVER_SCHEDULER_ADMISSION_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/config/tenants.h"
#include "server/scheduler/token_bucket.h"
#include "server/store/job_store.h"

namespace quantd {

// Thread-safe.
class Admission {
 public:
  static constexpr absl::Duration kCountsAge = absl::Milliseconds(100);

  // `max_queued`: jobs of all tenants; 0: no limit.
  Admission(JobStore& store, Clock& clock, int64_t max_queued)
      : store_(store), clock_(clock), max_queued_(max_queued), tenants_(std::make_shared<TenantTable>()) {}

  void SetTenants(TenantTable tenants);
  std::shared_ptr<const TenantTable> tenants() const;

  // Takes one submission off the tenant's rate. RESOURCE_EXHAUSTED SUBMIT_RATE, QUOTA_QUEUED_JOBS, QUOTA_STORED_BYTES
  // (quota_error.h: with whose quota it is and when to come back).
  absl::Status Check(absl::string_view tenant);

  // For JobStore::Submit, whose refusals Explain completes.
  SubmitLimits LimitsOf(absl::string_view tenant) const;
  static absl::Status Explain(absl::Status status, absl::string_view tenant);

 private:
  using Counts = std::map<std::string, TenantCounts>;
  absl::Status CheckRate(absl::string_view tenant);
  absl::StatusOr<std::shared_ptr<const Counts>> FreshCounts();

  JobStore& store_;
  Clock& clock_;
  const int64_t max_queued_;
  SubmitRates rates_;
  mutable std::mutex mutex_;
  std::shared_ptr<const TenantTable> tenants_;  // guarded by mutex_
  std::shared_ptr<const Counts> counts_;        // guarded by mutex_; null: never read
  absl::Time counted_ = absl::InfinitePast();   // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_ADMISSION_H_
