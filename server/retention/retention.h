// Forgetting what nobody needs any more: jobs beyond their age or count, artifacts past their expire_time, deleted jobs
// past their purge_time, files that no job names, old events and request ids.
//
// Every step works in small batches, each a short transaction of its own among those of everybody else, and each may be
// cut off and repeated: first the mark on the row, then the files, last the row. A file goes only when no other job's
// artifact and no checkpoint names it, and not within `publish_grace` of its last publication, since somebody may be
// about to name it; what is spared so is collected later as an orphan.
//
// Several servers on one store may all run it: they repeat each other's work, and undo nothing.
#ifndef QUANTD_SERVER_RETENTION_RETENTION_H_
#define QUANTD_SERVER_RETENTION_RETENTION_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/artifacts/artifact_store.h"
#include "server/store/job_store.h"

namespace quantd {

struct RetentionOptions {
  absl::Duration retain_jobs = absl::ZeroDuration();     // from their end to their deletion; 0: for ever
  int64_t retain_jobs_per_tenant = 0;                    // ended jobs that are kept, the newest; 0: all
  absl::Duration undelete_window = absl::Hours(7 * 24);  // from deletion to removal
  absl::Duration retain_events = absl::Hours(7 * 24);    // 0: for ever
  absl::Duration retain_audit = absl::ZeroDuration();    // 0: for ever
  absl::Duration orphan_age = absl::Hours(24);           // of files that nobody names
  absl::Duration publish_grace = absl::Minutes(10);
  int batch = 100;
};

struct RetentionServices {
  JobStore& store;
  ArtifactStore& artifacts;
};

// What a pass did, or would do.
struct RetentionCounts {
  int64_t deleted_jobs = 0;
  int64_t expired_artifacts = 0;
  int64_t purged_jobs = 0;
  int64_t removed_files = 0;
  int64_t dropped_events = 0;
  int64_t dropped_requests = 0;
  int64_t dropped_audit = 0;
};

// What a pass would begin with: at most `limit` of each.
struct RetentionPlan {
  std::vector<std::string> to_delete;  // ids of jobs
  std::vector<std::string> to_expire;
  std::vector<std::string> to_purge;
  std::vector<PublishedFile> orphans;
};

// One pass at a time; Stop() from any thread.
class Retention {
 public:
  Retention(RetentionOptions options, RetentionServices services) : options_(options), services_(services) {}

  // All that is due now, except that orphans are looked for in one stretch of the files a pass. An error ends its step
  // for this pass, not the other steps; the first is returned.
  absl::StatusOr<RetentionCounts> Pass();

  // Changes nothing; from any thread.
  absl::StatusOr<RetentionPlan> DryRun(int limit);

  // The pass ends after the batch it is at.
  void Stop() { stopping_ = true; }

 private:
  absl::Status DeleteBeyondLimits(RetentionCounts& counts);
  absl::Status ExpireArtifacts(RetentionCounts& counts);
  absl::Status PurgeDeleted(RetentionCounts& counts);
  absl::Status CollectOrphans(RetentionCounts& counts);
  absl::Status DropOldRows(RetentionCounts& counts);

  absl::Status Delete(const std::string& id);
  // Marks the artifact, then removes the files that only it named.
  absl::Status Expire(const std::string& id, const char* why, RetentionCounts& counts);
  absl::Status Purge(const JobRecord& record, RetentionCounts& counts);
  absl::Status RemoveFiles(const std::vector<std::string>& sha256s, absl::Duration min_age, RetentionCounts& counts);
  RetentionQuery BeyondLimits(int limit);
  // Of `page`, those that are old enough and that nobody names.
  absl::StatusOr<std::vector<PublishedFile>> OrphansAmong(const std::vector<PublishedFile>& page);

  const RetentionOptions options_;
  const RetentionServices services_;
  std::string orphan_cursor_;  // the last file that was looked at
  std::atomic<bool> stopping_{false};
};

// {"delete": [ids], "expire": [ids], "purge": [ids], "orphans": [{"sha256", "size_bytes"}]}.
std::string RetentionPlanJson(const RetentionPlan& plan);
// A line for each, and a summary; `limit`: of the DryRun.
std::string RetentionPlanText(const RetentionPlan& plan, int limit);

}  // namespace quantd

#endif  // QUANTD_SERVER_RETENTION_RETENTION_H_
