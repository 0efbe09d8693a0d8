// A whole job: plan -> calibrate -> quantize -> pack -> evaluate -> report, into one artifact folder.
#ifndef QUANTD_CORE_PIPELINE_RUN_JOB_H_
#define QUANTD_CORE_PIPELINE_RUN_JOB_H_

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/pipeline/checkpointer.h"
#include "core/pipeline/job_estimate.h"
#include "core/pipeline/job_spec.h"
#include "core/pipeline/progress.h"
#include "core/pipeline/report.h"

namespace quantd {

struct RunOptions {
  JobRoots roots;
  std::string out;  // the artifact folder; must not exist unless `overwrite`
  bool overwrite = false;
  CheckpointOptions checkpoint = {};
  std::function<void(const JobEstimate&)> on_plan = {};  // before any work
  ProgressCallback progress;
  const std::atomic<bool>* cancelled = nullptr;  // set from a signal handler or another thread
};

// Everything is written into "<out>.partial", made durable and renamed at the end: `out` is whole or absent.
// manifest.json and every file it digests are byte-identical for the same inputs, recipe and build; performance.json
// and report.html hold measurements and are named in no digest. OUTPUT_EXISTS; DISK_BUDGET_EXCEEDED; CANCELLED; else
// the reasons of the parts.
//
// With a checkpoint folder the job goes on from where an earlier call with the same inputs, recipe and build stopped,
// with the same bytes as if it had not; the folder is gone once `out` is there, and kept in every other case.
absl::StatusOr<Report> RunJob(const ExecutionContext& context, const JobSpec& spec, const RunOptions& options);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_RUN_JOB_H_
