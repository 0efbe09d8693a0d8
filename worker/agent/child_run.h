// Watches one child from start to end: reads what it says, ends it when asked, explains how it ended.
#ifndef QUANTD_WORKER_AGENT_CHILD_RUN_H_
#define QUANTD_WORKER_AGENT_CHILD_RUN_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "quantd/v1/worker_service.pb.h"
#include "worker/agent/process.h"

namespace quantd {

// Why a job is ended before its time, the weakest first: a stronger reason replaces a weaker one.
enum class StopReason {
  kNone,
  kDrain,        // the worker shuts down: the child keeps what it has, the job goes back to the queue
  kDrainOver,    // the time for that is over
  kRunDeadline,  // the attempt has run longer than the job allows
  kCancel,       // the user cancelled it
  kLostLease,    // it is somebody else's by now: no grace, no report
};

struct ChildRunOptions {
  absl::Duration grace = absl::Milliseconds(1500);  // from SIGTERM to SIGKILL
  absl::Duration drain_grace = absl::Seconds(5);    // the same in a drain: time for a last checkpoint
  std::function<StopReason()> stop_reason = {};     // asked about 20 times a second
  std::function<void(const v1::JobProgress&)> on_progress = {};
  std::function<void(const v1::Checkpoint&)> on_checkpoint = {};  // while its files are still there
  std::function<void(const v1::CheckpointSummary&)> on_resumed = {};
};

// How a child ended and what it said.
struct ChildEnd {
  ExitStatus status = {};
  v1::JobProgress progress = {};
  std::optional<v1::JobError> error = {};  // its own words
  std::string log_tail = {};
  std::string refusal = {};  // of the checkpoint it was given
};

// Returns when the child is gone. SIGTERM to its group, SIGKILL after the grace; SIGKILL at once when the lease is lost
// or a drain's time over.
ChildEnd WatchChild(ChildProcess& child, const ChildRunOptions& options);

// Why the job failed, for a child that ended neither with exit code 0 nor because it was stopped:
//   it says CANCELLED       CHILD_KILLED: it got SIGTERM, and not from its worker; exit code 130 means the same
//   its last error line     reason and message are the child's
//   SIGSEGV, SIGABRT, ...   CHILD_CRASHED
//   SIGKILL, SIGTERM, ...   CHILD_KILLED: somebody else ended it, for SIGKILL most likely the out-of-memory killer
//   exit without a reason   CHILD_CRASHED, naming the exit code
// with exit code, signal, last phase and the end of its log in each case.
v1::JobError FailureOf(const ChildEnd& end);

// Whether the child itself gave the reason: the same inputs would fail again, so the job is not tried again.
bool IsOwnFailure(const ChildEnd& end);

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_CHILD_RUN_H_
