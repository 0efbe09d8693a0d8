#include "server/scheduler/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/errors/quota_error.h"

namespace quantd {
namespace {

constexpr char kQueued[] = "QUOTA_QUEUED_JOBS";
constexpr char kStored[] = "QUOTA_STORED_BYTES";
constexpr char kAllTenants[] = "server";

struct RetryHint {
  const char* reason;
  absl::Duration delay;
};
// A job ends every few seconds where queues are full; artifacts go when somebody deletes them or retention does.
constexpr RetryHint kRetryHints[] = {{kQueued, absl::Seconds(5)}, {kStored, absl::Minutes(1)}};

struct Usage {
  const char* reason;
  const char* what;
  int64_t used;
  int64_t limit;  // 0: none
};

absl::Status CheckUsage(const Usage& usage, absl::string_view subject) {
  if (usage.limit <= 0 || usage.used < usage.limit) return absl::OkStatus();
  return WithQuotaSubject(
      ReasonError(absl::StatusCode::kResourceExhausted, usage.reason,
                  absl::StrFormat("%s: %d of %d %s; try again later", subject, usage.used, usage.limit, usage.what)),
      subject);
}

std::string SubjectOf(absl::string_view tenant) {
  return absl::StrCat("tenants/", tenant);
}

}  // namespace

void Admission::SetTenants(TenantTable tenants) {
  auto table = std::make_shared<const TenantTable>(std::move(tenants));
  const std::lock_guard<std::mutex> lock(mutex_);
  tenants_ = std::move(table);
}

std::shared_ptr<const TenantTable> Admission::tenants() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tenants_;
}

absl::Status Admission::Check(absl::string_view tenant) {
  RETURN_IF_ERROR(CheckRate(tenant));
  const SubmitLimits limits = LimitsOf(tenant);
  if (limits.max_queued == 0 && limits.tenant_max_queued == 0 && limits.tenant_max_stored_bytes == 0) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto counts, FreshCounts());
  int64_t all_queued = 0;
  for (const auto& [name, count] : *counts) all_queued += count.queued;
  const auto found = counts->find(std::string(tenant));
  const TenantCounts own = found == counts->end() ? TenantCounts() : found->second;
  const std::string subject = SubjectOf(tenant);
  absl::Status status = CheckUsage({kQueued, "queued jobs", own.queued, limits.tenant_max_queued}, subject);
  status.Update(CheckUsage({kStored, "stored bytes", own.stored_bytes, limits.tenant_max_stored_bytes}, subject));
  status.Update(CheckUsage({kQueued, "queued jobs", all_queued, limits.max_queued}, kAllTenants));
  return Explain(status, tenant);
}

SubmitLimits Admission::LimitsOf(absl::string_view tenant) const {
  const auto table = tenants();
  const TenantLimits& limits = table->Of(tenant);
  return {.max_queued = max_queued_,
          .tenant_max_queued = static_cast<int64_t>(limits.max_queued),
          .tenant_max_stored_bytes = static_cast<int64_t>(limits.max_stored_bytes)};
}

absl::Status Admission::Explain(absl::Status status, absl::string_view tenant) {
  const std::string reason = ReasonOf(status);
  for (const RetryHint& hint : kRetryHints) {
    if (reason != hint.reason) continue;
    if (QuotaSubjectOf(status).empty()) status = WithQuotaSubject(std::move(status), SubjectOf(tenant));
    return WithRetryAfter(std::move(status), hint.delay);
  }
  return status;
}

absl::Status Admission::CheckRate(absl::string_view tenant) {
  const auto table = tenants();
  const TenantLimits& limits = table->Of(tenant);
  const double burst = limits.burst > 0 ? limits.burst : std::max(limits.submits_per_second, 1.0);
  const absl::Duration wait =
      rates_.Take(tenant, {.per_second = limits.submits_per_second, .burst = burst}, clock_.Now());
  if (wait <= absl::ZeroDuration()) return absl::OkStatus();
  const std::string subject = SubjectOf(tenant);
  return WithRetryAfter(
      WithQuotaSubject(ReasonError(absl::StatusCode::kResourceExhausted, "SUBMIT_RATE",
                                   absl::StrFormat("%s may submit %g jobs a second, %g at once; try again later",
                                                   subject, limits.submits_per_second, burst)),
                       subject),
      wait);
}

absl::StatusOr<std::shared_ptr<const Admission::Counts>> Admission::FreshCounts() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = clock_.Now();
  if (counts_ != nullptr && now - counted_ < kCountsAge) return counts_;
  ASSIGN_OR_RETURN(Counts counts, store_.CountByTenant());
  counts_ = std::make_shared<const Counts>(std::move(counts));
  counted_ = now;
  return counts_;
}

}  // namespace quantd
