// Jobs on disk. An OK from any writing call means: committed and synced, it survives a crash and power loss.
//
// The store knows the state machine (job_record.h) but no policy: leases, attempts and who may run what are decided by
// the scheduler, which passes a pure function that changes a record inside the transaction.
//
// Every write that changes what users see (QuantJob) gives the job a new revision, growing over all jobs. A write that
// changes the state, or the phase or block of progress, also appends an event row with the job as it then was.
//
// Errors of all calls: UNAVAILABLE STORE_FAILED (the disk refused a write: no further write is accepted until restart,
// reads go on), RESOURCE_EXHAUSTED DISK_FULL, NOT_FOUND JOB_NOT_FOUND, and what the mutator returned.
// Implementations are thread-safe.
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
#include "server/store/job_record.h"

namespace quantd {

// Changes `record`, or refuses with a status: then nothing is written. Called inside the transaction, perhaps under a
// lock: must not block or call the store. sequence, id, spec and revision must stay as they are.
using JobMutator = std::function<absl::Status(JobRecord& record)>;

struct NewJob {
  std::string id;
  v1::QuantJobSpec spec;
  std::string request_id;  // empty: none
  absl::Time create_time;
};

struct SubmitResult {
  JobRecord record;
  bool duplicate = false;
};

// Newest first. Empty lists do not restrict.
struct JobQuery {
  std::vector<JobState> states = {};
  std::vector<std::string> presets = {};
  std::vector<std::string> models = {};
  int64_t before_sequence = 0;  // only older jobs; 0: from the newest
  int limit = 50;
};

struct ClaimQuery {
  std::vector<std::string> devices;  // that the worker has; "auto" jobs fit any worker
  absl::Time now;
};

struct QueueSummary {
  std::map<std::string, int64_t> waiting_by_device;
  absl::Time oldest_create_time = absl::InfiniteFuture();  // infinite future: the queue is empty
};

class JobStore {
 public:
  virtual ~JobStore() = default;

  // Queues a job. With a request_id known already: the earlier job when the spec is equal (duplicate), else
  // ALREADY_EXISTS REQUEST_ID_REUSED naming the first field that differs. `max_queued` > 0 limits the queue
  // (RESOURCE_EXHAUSTED QUOTA_QUEUED_JOBS); a duplicate is answered all the same.
  virtual absl::StatusOr<SubmitResult> Submit(const NewJob& job, int64_t max_queued) = 0;

  // The job of an earlier Submit with this id; nothing when it is unknown. Same errors as Submit.
  virtual absl::StatusOr<std::optional<JobRecord>> FindRequest(absl::string_view request_id,
                                                               const v1::QuantJobSpec& spec) = 0;

  virtual absl::StatusOr<JobRecord> Get(absl::string_view id) = 0;
  virtual absl::StatusOr<std::vector<JobRecord>> List(const JobQuery& query) = 0;

  // One transaction: read, mutate, write guarded by state, fence and revision, event. INTERNAL ILLEGAL_TRANSITION when
  // the state machine has no such arrow. The result is the record as written.
  virtual absl::StatusOr<JobRecord> Update(absl::string_view id, const JobMutator& mutate) = 0;

  // The same, and stores `report` with it if the job then has an artifact (it may have been cancelled instead).
  virtual absl::StatusOr<JobRecord> UpdateWithReport(absl::string_view id, const v1::QuantReport& report,
                                                     const JobMutator& mutate) = 0;

  // Update of the oldest queued job that a worker with these devices may run now; nothing when there is none.
  virtual absl::StatusOr<std::optional<JobRecord>> Claim(const ClaimQuery& query, const JobMutator& mutate) = 0;

  // Jobs with a lease (RUNNING, CANCELLING), by deadline; of one worker when `worker` is not empty.
  virtual absl::StatusOr<std::vector<JobRecord>> Leased(absl::string_view worker) = 0;

  // Events of a job after `revision`, oldest first, then the job as it is now when that is newer still.
  virtual absl::StatusOr<std::vector<v1::QuantJob>> ChangesAfter(absl::string_view id, int64_t revision) = 0;

  // The newest revision of any job; 0 on an empty store.
  virtual absl::StatusOr<int64_t> LastRevision() = 0;

  // Nothing when the job has no report.
  virtual absl::StatusOr<std::optional<v1::QuantReport>> Report(absl::string_view id) = 0;

  virtual absl::StatusOr<std::map<JobState, int64_t>> CountByState() = 0;
  virtual absl::StatusOr<QueueSummary> SummarizeQueue() = 0;

  // False after a write failed: readiness and metrics show it.
  virtual bool writable() const = 0;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_STORE_H_
