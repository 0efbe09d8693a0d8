// Everything a job needs, opened and checked, before any work: refuses early what cannot work, and says what it will
// cost.
#ifndef QUANTD_CORE_PIPELINE_JOB_PLAN_H_
#define QUANTD_CORE_PIPELINE_JOB_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/pipeline/job_estimate.h"
#include "core/pipeline/job_spec.h"
#include "core/pipeline/open_model.h"
#include "core/quant/recipe.h"
#include "core/text/corpus.h"

namespace quantd {

struct JobPlan {
  JobSpec spec;  // paths resolved
  OpenedModel source;
  Recipe recipe;
  std::vector<SitePlan> sites;
  std::vector<TokenSequence> calibration;  // empty: no data needed
  std::string calibration_sha256;          // of the text; empty without
  bool calibration_bos = false;
  EvaluationTokens evaluation;  // no windows: none asked for
  std::string evaluation_sha256;
  int64_t parameters = 0;  // elements of all tensors of the source
  JobEstimate estimate;
};

// Reasons beside those of every part it opens: MODEL_ALREADY_QUANTIZED, CALIBRATION_REQUIRED,
// EVALUATION_TEXT_IS_CALIBRATION_TEXT, JOB_FIELD_OUT_OF_RANGE (longer than the model's context),
// EXPORT_TARGET_CANNOT_HOLD, MEMORY_BUDGET_EXCEEDED.
absl::StatusOr<JobPlan> PlanJob(const JobRoots& roots, JobSpec spec, uint64_t memory_budget_bytes);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_JOB_PLAN_H_
