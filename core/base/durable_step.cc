#include "core/base/durable_step.h"

namespace quantd {
namespace {

using S = DurableStep;

constexpr DurableStepInfo kSteps[] = {
    {S::kSubmit, "submit.commit", "nothing happened; the client repeats its request_id",
     "the repeated call returns the same job"},
    {S::kClaim, "claim.commit", "still QUEUED", "the assignment is repeated, or the lease expires"},
    {S::kRenew, "renew.commit", "the lease may expire: requeued, the fence grows", "renewed"},
    {S::kRequeue, "requeue.commit", "the next sweep repeats it", "QUEUED"},
    {S::kFail, "fail.commit", "the sweep, or the worker, repeats it", "FAILED; repeating it is refused"},
    {S::kCancel, "cancel.commit", "as if not asked", "the worker or the sweeper completes it"},
    {S::kCancelConfirm, "cancel.confirm.commit", "the sweeper completes it when the lease is over", "CANCELLED"},
    {S::kPublish, "publish.commit", "RUNNING; the next attempt finds its files by digest",
     "terminal; repeating it with the same fence is acknowledged"},
    {S::kCheckpointRecord, "checkpoint.commit", "the checkpoint before is used", "resumes at the new block"},
    {S::kDeleteMark, "delete.mark.commit", "still visible", "deleted, can be undeleted"},
    {S::kUndelete, "undelete.commit", "still deleted", "visible again"},
    {S::kExpire, "expire.commit", "the next pass repeats it", "marked; files that nobody names are collected"},
    {S::kPurge, "purge.commit", "marked; the next pass repeats it", "gone"},
    {S::kMigrate, "migrate.commit", "old schema", "new schema; older programs refuse it"},
    {S::kHousekeeping, "housekeeping.commit", "the next pass repeats it", "old events and ids are gone"},
    {S::kUploadWrite, "upload.write", "the upload continues at its offset", "the same"},
    {S::kUploadSync, "upload.fsync", "the upload continues at its offset", "the staged file is whole"},
    {S::kArtifactRename, "artifact.rename", "staged; publishing is repeated", "an unreferenced file, collected later"},
    {S::kArtifactDirectorySync, "artifact.dirsync", "as before the rename, or after it", "the name is durable"},
    {S::kArtifactUnlink, "purge.unlink", "marked; the next pass repeats it", "the row is marked, the file gone"},
    {S::kCheckpointWrite, "checkpoint.write", "the checkpoint before is used", "the same"},
    {S::kCheckpointSync, "checkpoint.fsync", "the checkpoint before is used", "the same"},
    {S::kCheckpointRename, "checkpoint.rename", "the checkpoint before is used", "resumes at the new block"},
    {S::kCheckpointDirectorySync, "checkpoint.dirsync", "either checkpoint is used", "resumes at the new block"},
};

}  // namespace

absl::Span<const DurableStepInfo> DurableSteps() {
  return kSteps;
}

const DurableStepInfo& InfoOf(DurableStep step) {
  return kSteps[static_cast<size_t>(step)];
}

}  // namespace quantd
