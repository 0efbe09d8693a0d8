#include "core/pipeline/run_job.h"

#include "core/base/status.h"
#include "core/formats/model_files.h"
#include "core/pipeline/job_inputs.h"
#include "core/pipeline/job_plan.h"
#include "core/pipeline/job_run.h"

namespace quantd {
namespace {

// A checkpoint with the right digests may still hold what this job cannot use: then it is as if there were none.
absl::StatusOr<Report> RunAttempts(const JobRunParts& parts) {
  absl::StatusOr<Report> report = JobRun(parts).Run();
  if (parts.checkpointer.saved() == nullptr || ReasonOf(report.status()) != "CHECKPOINT_MALFORMED") return report;
  RETURN_IF_ERROR(parts.checkpointer.Refuse(report.status()));
  return JobRun(parts).Run();
}

}  // namespace

absl::StatusOr<Report> RunJob(const ExecutionContext& context, const JobSpec& spec, const RunOptions& options) {
  Progress progress(options.progress, options.cancelled);
  RETURN_IF_ERROR(progress.BeginPhase("plan"));
  ASSIGN_OR_RETURN(const JobPlan plan, PlanJob(options.roots, spec, context.memory_budget_bytes()));
  if (options.on_plan) options.on_plan(plan.estimate);
  progress.SetTotalWork(plan.estimate.multiply_adds);
  progress.SetBlocks(plan.source.model->config().blocks);
  ASSIGN_OR_RETURN(const std::string fingerprint, ModelFingerprint(RealFileSystem(), plan.spec.model));
  Checkpointer checkpointer(RealFileSystem(), options.checkpoint, progress);
  if (checkpointer.enabled()) {
    ASSIGN_OR_RETURN(std::string inputs_json, JobInputsJson(context, plan, fingerprint));
    RETURN_IF_ERROR(checkpointer.Open(std::move(inputs_json)));
  }
  ASSIGN_OR_RETURN(Report report, RunAttempts({context, options, plan, fingerprint, progress, checkpointer}));
  // The artifact is there whatever becomes of the folder.
  (void)checkpointer.Remove();
  return report;
}

}  // namespace quantd
