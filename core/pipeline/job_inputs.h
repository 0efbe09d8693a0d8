// Everything that decides the bytes of a job's artifact, as the fingerprint of its checkpoints sees it.
#ifndef QUANTD_CORE_PIPELINE_JOB_INPUTS_H_
#define QUANTD_CORE_PIPELINE_JOB_INPUTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/pipeline/job_plan.h"

namespace quantd {

// The canonical text of an object of texts: model, calibration, evaluation, recipe, job, program, arithmetic, format.
// Threads, memory budget, roots and labels are not in it: they change no byte.
absl::StatusOr<std::string> JobInputsJson(const ExecutionContext& context, const JobPlan& plan,
                                          const std::string& model_fingerprint);

// "model, recipe": the members in which two such objects differ.
std::string DifferentInputs(const std::string& a_json, const std::string& b_json);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_JOB_INPUTS_H_
