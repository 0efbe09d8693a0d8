// Every step after which something is on disk that must survive a crash, listed once. The list serves the code (which
// passes through a fail point before and after each), the crash tests (which stop the process at each) and the argument
// of docs/store.md.
//
//   RETURN_IF_ERROR(RunDurableStep(DurableStep::kArtifactRename, [&] { return files.Rename(from, to); }));
//
// A new step needs a row in durable_step.cc; a test fails when a step in the table is never passed, and when a commit, a
// rename or a sync of server/, worker/ or core/pipeline/ runs outside a step.
#ifndef QUANTD_CORE_BASE_DURABLE_STEP_H_
#define QUANTD_CORE_BASE_DURABLE_STEP_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/base/fail_point.h"
#include "core/base/status.h"

namespace quantd {

enum class DurableStep {
  // Transactions of the job store.
  kSubmit,
  kClaim,
  kRenew,  // lease and progress
  kRequeue,
  kFail,
  kCancel,
  kCancelConfirm,
  kPublish,           // the row that makes a result visible
  kCheckpointRecord,  // the row that makes a checkpoint the newest
  kDeleteMark,
  kUndelete,
  kExpire,
  kPurge,  // the rows, after the files
  kMigrate,
  kHousekeeping,  // old events and request ids
  // Files of the artifact store.
  kUploadWrite,
  kUploadSync,
  kArtifactRename,
  kArtifactDirectorySync,
  kArtifactUnlink,
  // Checkpoints of the pipeline.
  kCheckpointWrite,
  kCheckpointSync,
  kCheckpointRename,
  kCheckpointDirectorySync,
};

struct DurableStepInfo {
  DurableStep step;
  const char* name;          // "submit.commit"; its fail points are "submit.commit.before" and "submit.commit.after"
  const char* crash_before;  // what is true when the process dies before the step
  const char* crash_after;
};

absl::Span<const DurableStepInfo> DurableSteps();
const DurableStepInfo& InfoOf(DurableStep step);

// Passes the point before, runs `body`, passes the point after. An error injected after the body is "done, and reported
// as failed".
template <typename Body>
absl::Status RunDurableStep(DurableStep step, Body&& body) {
  RETURN_IF_ERROR(PassFailPoint(step, FailPointSide::kBefore));
  RETURN_IF_ERROR(std::forward<Body>(body)());
  return PassFailPoint(step, FailPointSide::kAfter);
}

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_DURABLE_STEP_H_
