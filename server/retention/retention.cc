#include "server/retention/retention.h"

#include <algorithm>
#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/retention/marks.h"

namespace quantd {
namespace {

constexpr char kActor[] = "retention";
constexpr int kOrphanPage = 1000;

AuditNote Note(const char* action, std::string detail) {
  return {.actor = kActor, .action = action, .detail = std::move(detail)};
}

// Somebody else was first, or the job was taken back meanwhile: nothing is left to do.
bool IsDoneAlready(const absl::Status& status) {
  return status.code() == absl::StatusCode::kFailedPrecondition || ReasonOf(status) == "JOB_NOT_FOUND" ||
         ReasonOf(status) == "STORE_CONFLICT";
}

std::vector<std::string> FilesOf(const v1::QuantJob& job) {
  std::set<std::string> digests;
  for (const v1::ArtifactFile& file : job.artifact().files()) digests.insert(file.sha256());
  return {digests.begin(), digests.end()};
}

}  // namespace

absl::StatusOr<RetentionCounts> Retention::Pass() {
  RetentionCounts counts;
  absl::Status first_error;
  using Step = absl::Status (Retention::*)(RetentionCounts&);
  for (const Step step : {&Retention::DeleteBeyondLimits, &Retention::ExpireArtifacts, &Retention::PurgeDeleted,
                          &Retention::CollectOrphans, &Retention::DropOldRows}) {
    if (!stopping_) first_error.Update((this->*step)(counts));
  }
  if (!first_error.ok()) return first_error;
  return counts;
}

RetentionQuery Retention::BeyondLimits(int limit) {
  const bool by_age = options_.retain_jobs > absl::ZeroDuration();
  return {.finished_before = by_age ? services_.store.Now() - options_.retain_jobs : absl::InfinitePast(),
          .keep_newest_per_tenant = options_.retain_jobs_per_tenant,
          .limit = limit};
}

absl::Status Retention::DeleteBeyondLimits(RetentionCounts& counts) {
  while (!stopping_) {
    ASSIGN_OR_RETURN(const std::vector<std::string> ids, services_.store.Retirable(BeyondLimits(options_.batch)));
    for (const std::string& id : ids) {
      RETURN_IF_ERROR(Delete(id));
      ++counts.deleted_jobs;
    }
    if (static_cast<int>(ids.size()) < options_.batch) break;
  }
  return absl::OkStatus();
}

absl::Status Retention::Delete(const std::string& id) {
  const auto mark = [&](JobRecord& record) {
    return MarkDeleted(record, services_.store.Now(), options_.undelete_window,
                       Note("delete", "beyond the age or the number of jobs that are kept"));
  };
  const absl::Status status = services_.store.Update(DurableStep::kDeleteMark, id, mark).status();
  return IsDoneAlready(status) ? absl::OkStatus() : status;
}

absl::Status Retention::ExpireArtifacts(RetentionCounts& counts) {
  while (!stopping_) {
    ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                     services_.store.ArtifactsToExpire(services_.store.Now(), options_.batch));
    for (const std::string& id : ids) RETURN_IF_ERROR(Expire(id, "expire_time has passed", counts));
    if (static_cast<int>(ids.size()) < options_.batch) break;
  }
  return absl::OkStatus();
}

absl::Status Retention::Expire(const std::string& id, const char* why, RetentionCounts& counts) {
  const auto marked = services_.store.Update(
      DurableStep::kExpire, id, [&](JobRecord& record) { return MarkExpired(record, Note("expire", why)); });
  if (IsDoneAlready(marked.status())) return absl::OkStatus();
  RETURN_IF_ERROR(marked.status());
  ++counts.expired_artifacts;
  return RemoveFiles(FilesOf(marked->job), options_.publish_grace, counts);
}

absl::Status Retention::RemoveFiles(const std::vector<std::string>& sha256s, absl::Duration min_age,
                                    RetentionCounts& counts) {
  ASSIGN_OR_RETURN(const std::vector<std::string> unreferenced, services_.store.UnreferencedFiles(sha256s));
  for (const std::string& sha256 : unreferenced) {
    ASSIGN_OR_RETURN(const bool removed, services_.artifacts.Remove(sha256, min_age));
    counts.removed_files += removed ? 1 : 0;
  }
  return absl::OkStatus();
}

absl::Status Retention::PurgeDeleted(RetentionCounts& counts) {
  while (!stopping_) {
    ASSIGN_OR_RETURN(const std::vector<JobRecord> records,
                     services_.store.Purgeable(services_.store.Now(), options_.batch));
    for (const JobRecord& record : records) RETURN_IF_ERROR(Purge(record, counts));
    if (static_cast<int>(records.size()) < options_.batch) break;
  }
  return absl::OkStatus();
}

absl::Status Retention::Purge(const JobRecord& record, RetentionCounts& counts) {
  RETURN_IF_ERROR(Expire(record.id, "the job is being removed", counts));
  // Again when a former pass marked it and was cut off before the files.
  RETURN_IF_ERROR(RemoveFiles(FilesOf(record.job), options_.publish_grace, counts));
  RETURN_IF_ERROR(services_.artifacts.DropStaging({.job = record.id, .fence = 0}));
  RETURN_IF_ERROR(services_.artifacts.DropCheckpoint(record.id));
  const absl::Status status = services_.store.Purge(record.id, Note("purge", "purge_time has passed"));
  if (IsDoneAlready(status)) return absl::OkStatus();
  RETURN_IF_ERROR(status);
  ++counts.purged_jobs;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PublishedFile>> Retention::OrphansAmong(const std::vector<PublishedFile>& page) {
  std::vector<std::string> old;
  for (const PublishedFile& file : page) {
    if (file.age >= options_.orphan_age) old.push_back(file.sha256);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> unreferenced, services_.store.UnreferencedFiles(old));
  const std::set<std::string> orphans(unreferenced.begin(), unreferenced.end());
  std::vector<PublishedFile> result;
  for (const PublishedFile& file : page) {
    if (orphans.count(file.sha256) > 0) result.push_back(file);
  }
  return result;
}

absl::Status Retention::CollectOrphans(RetentionCounts& counts) {
  ASSIGN_OR_RETURN(const std::vector<PublishedFile> page,
                   services_.artifacts.ListPublished(orphan_cursor_, kOrphanPage));
  orphan_cursor_ = static_cast<int>(page.size()) < kOrphanPage ? "" : page.back().sha256;
  ASSIGN_OR_RETURN(const std::vector<PublishedFile> orphans, OrphansAmong(page));
  for (const PublishedFile& file : orphans) {
    if (stopping_) break;
    // Asked again right before: an orphan may have been named since.
    RETURN_IF_ERROR(RemoveFiles({file.sha256}, options_.orphan_age, counts));
    Log(Severity::kInfo, "orphan_removed", {{"sha256", file.sha256}});
  }
  return absl::OkStatus();
}

absl::Status Retention::DropOldRows(RetentionCounts& counts) {
  const auto drop = [this](const std::function<absl::StatusOr<int64_t>()>& drop_batch, int64_t& total) -> absl::Status {
    for (int64_t dropped = options_.batch; dropped >= options_.batch && !stopping_; total += dropped) {
      ASSIGN_OR_RETURN(dropped, drop_batch());
    }
    return absl::OkStatus();
  };
  JobStore& store = services_.store;
  const absl::Time now = store.Now();
  if (options_.retain_events > absl::ZeroDuration()) {
    const absl::Status events =
        drop([&] { return store.DropOldEvents(now - options_.retain_events, options_.batch); }, counts.dropped_events);
    RETURN_IF_ERROR(events);
  }
  if (options_.retain_audit > absl::ZeroDuration()) {
    const absl::Status audit =
        drop([&] { return store.DropOldAudit(now - options_.retain_audit, options_.batch); }, counts.dropped_audit);
    RETURN_IF_ERROR(audit);
    if (counts.dropped_audit > 0) Log(Severity::kInfo, "audit_dropped", {{"rows", absl::StrCat(counts.dropped_audit)}});
  }
  return drop([&] { return store.DropOldRequests(now - kRequestIdLife, options_.batch); }, counts.dropped_requests);
}

absl::StatusOr<RetentionPlan> Retention::DryRun(int limit) {
  RetentionPlan plan;
  JobStore& store = services_.store;
  const absl::Time now = store.Now();
  ASSIGN_OR_RETURN(plan.to_delete, store.Retirable(BeyondLimits(limit)));
  ASSIGN_OR_RETURN(plan.to_expire, store.ArtifactsToExpire(now, limit));
  ASSIGN_OR_RETURN(const std::vector<JobRecord> purgeable, store.Purgeable(now, limit));
  for (const JobRecord& record : purgeable) plan.to_purge.push_back(record.id);
  std::string cursor;
  while (static_cast<int>(plan.orphans.size()) < limit) {
    ASSIGN_OR_RETURN(const std::vector<PublishedFile> page, services_.artifacts.ListPublished(cursor, kOrphanPage));
    ASSIGN_OR_RETURN(const std::vector<PublishedFile> orphans, OrphansAmong(page));
    plan.orphans.insert(plan.orphans.end(), orphans.begin(), orphans.end());
    if (static_cast<int>(page.size()) < kOrphanPage) break;
    cursor = page.back().sha256;
  }
  if (static_cast<int>(plan.orphans.size()) > limit) plan.orphans.resize(static_cast<size_t>(limit));
  return plan;
}

}  // namespace quantd
