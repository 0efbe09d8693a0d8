// Jobs on disk. An OK from any writing call means: committed and synced, it survives a crash and power loss.
//
// The store knows the state machine (job_record.h) but no policy: leases, attempts and who may run what are decided by
// the scheduler, which passes a pure function that changes a record inside the transaction.
//
// Every write that changes what users see (QuantJob) gives the job a new revision, growing over all jobs. A write that
// changes the state, or the phase or block of progress, also appends an event row with the job as it then was. Counts
// (how many jobs in which state, bytes of artifacts) are kept by the same transaction, so that asking costs nothing.
//
// Errors of all calls: UNAVAILABLE STORE_FAILED (SQLite: the disk refused a write, no further one is accepted until
// restart, reads go on; PostgreSQL: cannot be reached), UNAVAILABLE STORE_BUSY (nothing was done), RESOURCE_EXHAUSTED
// DISK_FULL, NOT_FOUND JOB_NOT_FOUND, and what the mutator returned. After an UNAVAILABLE nobody knows whether the
// write was done: repeating must be safe, and is (request ids, fences, states). Implementations are thread-safe.
#ifndef QUANTD_SERVER_STORE_JOB_STORE_H_
#define QUANTD_SERVER_STORE_JOB_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/durable_step.h"
#include "server/store/job_record.h"

namespace quantd {

// Changes `record`, or refuses with a status: then nothing is written. Called inside the transaction, on another thread
// perhaps and under a lock: must not block or call the store. May run several times (each time with a fresh record).
// sequence, id, tenant, spec and revision must stay as they are.
using JobMutator = std::function<absl::Status(JobRecord& record)>;

struct NewJob {
  std::string id;
  std::string tenant = kDefaultTenant;
  v1::QuantJobSpec spec;
  v1::JobEstimate estimate = {};
  std::string request_id = {};  // unique within the tenant; empty: none
  absl::Time create_time;
  std::string actor = {};  // for the audit log
  // Waiting so long is worth one step of priority.
  absl::Duration ageing = absl::Minutes(1);
};

// 0: no limit.
struct SubmitLimits {
  int64_t max_queued = 0;               // jobs of all tenants: QUOTA_QUEUED_JOBS
  int64_t tenant_max_queued = 0;        // of this tenant: QUOTA_QUEUED_JOBS
  int64_t tenant_max_stored_bytes = 0;  // artifacts of this tenant that are not expired: QUOTA_STORED_BYTES
};

struct SubmitResult {
  JobRecord record;
  bool duplicate = false;
};

// Newest first. Empty lists do not restrict.
struct JobQuery {
  std::string tenant = kDefaultTenant;
  std::vector<JobState> states = {};
  std::vector<std::string> presets = {};
  std::vector<std::string> models = {};
  bool show_deleted = false;
  int64_t before_sequence = 0;  // only older jobs; 0: from the newest
  int limit = 50;
};

struct TenantPolicy {
  double weight = 1;        // a tenant of weight 2 is served twice as often as one of weight 1
  int64_t max_running = 0;  // jobs with a lease; 0: no limit
};

// Which job a worker gets. Tenants that have one for it are ordered by virtual time, which grows by 1 / weight with
// each job served; one that had nothing waiting begins at the time of the others, so that idling saves nothing up.
// Within a tenant: by rank = create_time - priority * ageing, smallest first.
struct ClaimQuery {
  std::vector<std::string> devices = {};  // that the worker has; "auto" jobs fit any worker
  int64_t memory_bytes = INT64_MAX;       // free on the worker: jobs whose estimate needs more are passed over
  int64_t disk_bytes = INT64_MAX;
  // Jobs whose last attempt was lost on this worker are passed over until `avoid_for` after their run_after: another
  // worker gets the first chance. Empty: none are.
  std::string avoid_worker = {};
  absl::Duration avoid_for = absl::Seconds(30);
  absl::Time now;
  std::function<TenantPolicy(absl::string_view tenant)> policy = {};  // pure; empty: all alike
};

struct QueueSummary {
  std::map<std::string, int64_t> waiting_by_device;
  absl::Time oldest_create_time = absl::InfiniteFuture();  // infinite future: the queue is empty
};

struct TenantCounts {
  int64_t queued = 0;
  int64_t running = 0;       // with a lease
  int64_t stored_bytes = 0;  // of artifacts that are not expired
};

struct RetentionQuery {
  absl::Time finished_before = absl::InfinitePast();  // infinite past: no limit of age
  int64_t keep_newest_per_tenant = 0;                 // 0: no limit of count
  int limit = 100;
};

struct AuditQuery {
  bool all_tenants = false;  // also the rows of no job; `tenant` and `job` mean nothing then
  std::string tenant = kDefaultTenant;
  std::string job = {};         // id; empty: all jobs of the tenant. Unknown once a job is purged.
  int64_t before_sequence = 0;  // only older rows; 0: from the newest
  int limit = 50;
};

struct AuditRow {
  int64_t sequence = 0;
  absl::Time time;
  std::string tenant;  // empty: of no job
  std::string job;     // id
  AuditNote note;
};

struct FileReference {
  std::string sha256;
  std::string job;  // id
  bool of_checkpoint = false;
};

class JobStore {
 public:
  virtual ~JobStore() = default;

  // Queues a job. With a request_id known already: the earlier job when the spec is equal (duplicate), else
  // ALREADY_EXISTS REQUEST_ID_REUSED naming the first field that differs. Limits are RESOURCE_EXHAUSTED; a duplicate is
  // answered all the same.
  virtual absl::StatusOr<SubmitResult> Submit(const NewJob& job, const SubmitLimits& limits) = 0;

  // The job of an earlier Submit with this id; nothing when it is unknown. Same errors as Submit.
  virtual absl::StatusOr<std::optional<JobRecord>> FindRequest(absl::string_view tenant, absl::string_view request_id,
                                                               const v1::QuantJobSpec& spec) = 0;

  // Deleted jobs too.
  virtual absl::StatusOr<JobRecord> Get(absl::string_view id) = 0;
  virtual absl::StatusOr<std::vector<JobRecord>> List(const JobQuery& query) = 0;

  // One transaction: read, mutate, write guarded by state, fence and revision, event, audit row. `step` names the fail
  // point. INTERNAL ILLEGAL_TRANSITION when the state machine has no such arrow. The result is the record as written.
  virtual absl::StatusOr<JobRecord> Update(DurableStep step, absl::string_view id, const JobMutator& mutate) = 0;

  // The same, and stores `report` with it if the job then has an artifact (it may have been cancelled instead).
  virtual absl::StatusOr<JobRecord> UpdateWithReport(DurableStep step, absl::string_view id,
                                                     const v1::QuantReport& report, const JobMutator& mutate) = 0;

  // Update of the queued job whose turn it is; nothing when there is none that fits.
  virtual absl::StatusOr<std::optional<JobRecord>> Claim(const ClaimQuery& query, const JobMutator& mutate) = 0;

  // Jobs with a lease (RUNNING, CANCELLING), by deadline; of one worker when `worker` is not empty.
  virtual absl::StatusOr<std::vector<JobRecord>> Leased(absl::string_view worker) = 0;
  // Those whose lease has ended by `now`, the longest ended first.
  virtual absl::StatusOr<std::vector<JobRecord>> LeaseExpired(absl::Time now, int limit) = 0;
  // QUEUED past queue_deadline, then RUNNING past run_deadline.
  virtual absl::StatusOr<std::vector<JobRecord>> Overdue(absl::Time now, int limit) = 0;

  // Events of a job after `revision`, oldest first, then the job as it is now when that is newer still. `revision` 0
  // gives all that are left; else OUT_OF_RANGE REVISION_COMPACTED when events after it have been dropped.
  virtual absl::StatusOr<std::vector<v1::QuantJob>> ChangesAfter(absl::string_view id, int64_t revision) = 0;

  // The newest revision of any job; 0 on an empty store.
  virtual absl::StatusOr<int64_t> LastRevision() = 0;

  // Nothing when the job has no report.
  virtual absl::StatusOr<std::optional<v1::QuantReport>> Report(absl::string_view id) = 0;

  // Counts; none of them looks at jobs. Deleted jobs count until they are purged.
  virtual absl::StatusOr<std::map<JobState, int64_t>> CountByState() = 0;
  virtual absl::StatusOr<std::map<std::string, TenantCounts>> CountByTenant() = 0;
  virtual absl::StatusOr<QueueSummary> SummarizeQueue() = 0;

  // Retention. Each gives ids or rows for the caller to work through, at most `limit`, oldest first.
  // Terminal jobs, not deleted, beyond the age or the count.
  virtual absl::StatusOr<std::vector<std::string>> Retirable(const RetentionQuery& query) = 0;
  // Jobs whose artifact's expire_time has passed and that are not marked `expired`.
  virtual absl::StatusOr<std::vector<std::string>> ArtifactsToExpire(absl::Time now, int limit) = 0;
  // Deleted jobs past purge_time whose request id is older than kRequestIdLife.
  virtual absl::StatusOr<std::vector<JobRecord>> Purgeable(absl::Time now, int limit) = 0;
  // Removes every row of a deleted job but those of the audit log, which gets one more; after its files.
  // FAILED_PRECONDITION JOB_NOT_DELETED.
  virtual absl::Status Purge(absl::string_view id, const AuditNote& note) = 0;
  // Those of the digests that no artifact (unless expired) and no checkpoint names.
  virtual absl::StatusOr<std::vector<std::string>> UnreferencedFiles(const std::vector<std::string>& sha256s) = 0;
  virtual absl::StatusOr<std::vector<FileReference>> AllReferencedFiles() = 0;
  // Drop old rows; the result is how many were dropped. Less than `limit`: no more for now.
  virtual absl::StatusOr<int64_t> DropOldEvents(absl::Time before, int limit) = 0;
  // Never younger than kRequestIdLife, whatever `before` says.
  virtual absl::StatusOr<int64_t> DropOldRequests(absl::Time before, int limit) = 0;
  virtual absl::StatusOr<int64_t> DropOldAudit(absl::Time before, int limit) = 0;

  // Newest first.
  virtual absl::StatusOr<std::vector<AuditRow>> Audit(const AuditQuery& query) = 0;

  // The clock that judges leases and deadlines: the same for every server on this store.
  virtual absl::Time Now() = 0;

  // False while writes are refused: readiness and metrics show it.
  virtual bool writable() const = 0;

  // Hints between servers on one store; see SqlDatabase.
  virtual void NotifyOthers() {}
  virtual void ListenToOthers(std::function<void()> /*on_change*/) {}
};

// A request id is honoured at least so long.
inline constexpr absl::Duration kRequestIdLife = absl::Hours(7 * 24);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_STORE_H_
