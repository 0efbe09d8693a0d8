#include "server/store/sql_job_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/audit_log.h"
#include "server/store/claim_queries.h"
#include "server/store/event_log.h"
#include "server/store/job_changes.h"
#include "server/store/job_queries.h"
#include "server/store/request_ids.h"
#include "server/store/retention_queries.h"
#include "server/store/tallies.h"

namespace quantd {
namespace {

// Two transactions of different servers may insert one request id at the same time: the one that is refused finds the
// other's job when it looks again.
constexpr int kSubmitTries = 3;

class SqlJobStore : public JobStore {
 public:
  explicit SqlJobStore(std::unique_ptr<SqlDatabase> database) : database_(std::move(database)) {}

  absl::StatusOr<SubmitResult> Submit(const NewJob& job, const SubmitLimits& limits) override {
    absl::StatusOr<SubmitResult> result = SubmitOnce(job, limits);
    for (int tries = 1; tries < kSubmitTries && ReasonOf(result.status()) == "STORE_CONSTRAINT"; ++tries) {
      result = SubmitOnce(job, limits);
    }
    return result;
  }

  absl::StatusOr<std::optional<JobRecord>> FindRequest(absl::string_view tenant, absl::string_view request_id,
                                                       const v1::QuantJobSpec& spec) override {
    if (request_id.empty()) return std::nullopt;
    return Read<std::optional<JobRecord>>(
        [&](SqlConnection& connection) { return MatchRequest(connection, tenant, request_id, spec); });
  }

  absl::StatusOr<JobRecord> Get(absl::string_view id) override {
    return Read<JobRecord>([&](SqlConnection& connection) { return ReadJob(connection, id); });
  }

  absl::StatusOr<std::vector<JobRecord>> List(const JobQuery& query) override {
    return Read<std::vector<JobRecord>>([&](SqlConnection& connection) { return ReadJobs(connection, query); });
  }

  absl::StatusOr<JobRecord> Update(DurableStep step, absl::string_view id, const JobMutator& mutate) override {
    return UpdateJob(step, id, nullptr, mutate);
  }
  absl::StatusOr<JobRecord> UpdateWithReport(DurableStep step, absl::string_view id, const v1::QuantReport& report,
                                             const JobMutator& mutate) override {
    return UpdateJob(step, id, &report, mutate);
  }

  absl::StatusOr<std::optional<JobRecord>> Claim(const ClaimQuery& query, const JobMutator& mutate) override {
    // Most polls find nothing: look without a transaction that writes first.
    ASSIGN_OR_RETURN(const bool any,
                     Read<bool>([&](SqlConnection& connection) { return AnyClaimable(connection, query); }));
    if (!any) return std::nullopt;
    const absl::Time now = database_->Now();
    std::optional<JobRecord> claimed;
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      ASSIGN_OR_RETURN(claimed, TakeNext(connection, query));
      return claimed.has_value() ? ChangeJob(connection, *claimed, mutate, now) : absl::OkStatus();
    };
    RETURN_IF_ERROR(database_->Write(DurableStep::kClaim, body));
    return claimed;
  }

  absl::StatusOr<std::vector<JobRecord>> Leased(absl::string_view worker) override {
    return Read<std::vector<JobRecord>>([&](SqlConnection& connection) { return ReadLeased(connection, worker); });
  }
  absl::StatusOr<std::vector<JobRecord>> LeaseExpired(absl::Time now, int limit) override {
    return Read<std::vector<JobRecord>>(
        [&](SqlConnection& connection) { return ReadLeaseExpired(connection, now, limit); });
  }
  absl::StatusOr<std::vector<JobRecord>> Overdue(absl::Time now, int limit) override {
    return Read<std::vector<JobRecord>>([&](SqlConnection& connection) { return ReadOverdue(connection, now, limit); });
  }

  absl::StatusOr<std::vector<v1::QuantJob>> ChangesAfter(absl::string_view id, int64_t revision) override {
    return Read<std::vector<v1::QuantJob>>(
        [&](SqlConnection& connection) { return ReadChangesAfter(connection, id, revision); });
  }
  absl::StatusOr<int64_t> LastRevision() override { return Read<int64_t>(&ReadLastRevision); }

  absl::StatusOr<std::optional<v1::QuantReport>> Report(absl::string_view id) override {
    return Read<std::optional<v1::QuantReport>>([&](SqlConnection& connection) { return ReadReport(connection, id); });
  }

  absl::StatusOr<std::map<JobState, int64_t>> CountByState() override {
    return Read<std::map<JobState, int64_t>>(&ReadCountByState);
  }
  absl::StatusOr<std::map<std::string, TenantCounts>> CountByTenant() override {
    return Read<std::map<std::string, TenantCounts>>(&ReadCountByTenant);
  }
  absl::StatusOr<QueueSummary> SummarizeQueue() override { return Read<QueueSummary>(&ReadQueueSummary); }

  absl::StatusOr<std::vector<std::string>> Retirable(const RetentionQuery& query) override {
    return Read<std::vector<std::string>>([&](SqlConnection& connection) { return ReadRetirable(connection, query); });
  }
  absl::StatusOr<std::vector<std::string>> ArtifactsToExpire(absl::Time now, int limit) override {
    return Read<std::vector<std::string>>(
        [&](SqlConnection& connection) { return ReadArtifactsToExpire(connection, now, limit); });
  }
  absl::StatusOr<std::vector<JobRecord>> Purgeable(absl::Time now, int limit) override {
    return Read<std::vector<JobRecord>>(
        [&](SqlConnection& connection) { return ReadPurgeable(connection, now, limit); });
  }
  absl::Status Purge(absl::string_view id, const AuditNote& note) override {
    const absl::Time now = database_->Now();
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      ASSIGN_OR_RETURN(const JobRecord record, ReadJobForUpdate(connection, id));
      return PurgeJob(connection, record, note, now);
    };
    return database_->Write(DurableStep::kPurge, body);
  }
  absl::StatusOr<std::vector<std::string>> UnreferencedFiles(const std::vector<std::string>& sha256s) override {
    return Read<std::vector<std::string>>(
        [&](SqlConnection& connection) { return ReadUnreferenced(connection, sha256s); });
  }
  absl::StatusOr<std::vector<FileReference>> AllReferencedFiles() override {
    return Read<std::vector<FileReference>>(&ReadAllReferences);
  }

  absl::StatusOr<int64_t> DropOldEvents(absl::Time before, int limit) override {
    return Drop([&](SqlConnection& connection) { return DeleteOldEvents(connection, before, limit); });
  }
  absl::StatusOr<int64_t> DropOldRequests(absl::Time before, int limit) override {
    const absl::Time oldest = std::min(before, database_->Now() - kRequestIdLife);
    return Drop([&](SqlConnection& connection) { return DeleteOldRequests(connection, oldest, limit); });
  }
  absl::StatusOr<int64_t> DropOldAudit(absl::Time before, int limit) override {
    return Drop([&](SqlConnection& connection) { return DeleteOldAudit(connection, before, limit); });
  }

  absl::StatusOr<std::vector<AuditRow>> Audit(const AuditQuery& query) override {
    return Read<std::vector<AuditRow>>([&](SqlConnection& connection) { return ReadAudit(connection, query); });
  }

  absl::Time Now() override { return database_->Now(); }
  bool writable() const override { return database_->writable(); }
  void NotifyOthers() override { database_->NotifyOthers(); }
  void ListenToOthers(std::function<void()> on_change) override { database_->ListenToOthers(std::move(on_change)); }

 private:
  // What `query` gives on a consistent view.
  template <typename Result>
  absl::StatusOr<Result> Read(const std::function<absl::StatusOr<Result>(SqlConnection&)>& query) {
    Result result;
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      ASSIGN_OR_RETURN(result, query(connection));
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(database_->Read(body));
    return result;
  }

  absl::StatusOr<int64_t> Drop(const std::function<absl::StatusOr<int64_t>(SqlConnection&)>& drop) {
    int64_t count = 0;
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      ASSIGN_OR_RETURN(count, drop(connection));
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(database_->Write(DurableStep::kHousekeeping, body));
    return count;
  }

  absl::StatusOr<SubmitResult> SubmitOnce(const NewJob& job, const SubmitLimits& limits) {
    const absl::Time now = database_->Now();
    SubmitResult result;
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      ASSIGN_OR_RETURN(std::optional<JobRecord> known, MatchRequest(connection, job.tenant, job.request_id, job.spec));
      result.duplicate = known.has_value();
      if (result.duplicate) {
        result.record = *std::move(known);
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(CheckLimits(connection, job.tenant, limits));
      ASSIGN_OR_RETURN(result.record, InsertJob(connection, job, now));
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(database_->Write(DurableStep::kSubmit, body));
    return result;
  }

  absl::StatusOr<JobRecord> UpdateJob(DurableStep step, absl::string_view id, const v1::QuantReport* report,
                                      const JobMutator& mutate) {
    const absl::Time now = database_->Now();
    JobRecord record;
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      ASSIGN_OR_RETURN(record, ReadJobForUpdate(connection, id));
      RETURN_IF_ERROR(ChangeJob(connection, record, mutate, now));
      const bool reported = report != nullptr && record.job.has_artifact();
      return reported ? InsertReport(connection, *report, record.sequence) : absl::OkStatus();
    };
    RETURN_IF_ERROR(database_->Write(step, body));
    return record;
  }

  const std::unique_ptr<SqlDatabase> database_;
};

}  // namespace

std::unique_ptr<JobStore> NewSqlJobStore(std::unique_ptr<SqlDatabase> database) {
  return std::make_unique<SqlJobStore>(std::move(database));
}

}  // namespace quantd
