// What a job will take and do, known before it begins.
#ifndef QUANTD_CORE_PIPELINE_JOB_ESTIMATE_H_
#define QUANTD_CORE_PIPELINE_JOB_ESTIMATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/pipeline/quantize_work.h"

namespace quantd {

struct JobPlan;

// What is kept at the boundaries between blocks, of all calibration sequences.
struct BoundaryEstimate {
  std::string name;
  int64_t boundaries = 0;
  int64_t bytes = 0;          // of all of them
  int64_t spilled_bytes = 0;  // of those in mapped files: they are beyond their share of the memory budget
};

// Layers whose sensitivities are gathered together, in the block that has the most.
struct RoundEstimate {
  int pass = 0;                     // of the block, from 1
  std::vector<std::string> layers;  // without the block's prefix
  int64_t statistics_bytes = 0;
};

// The first nine are fields of quantd.v1.JobEstimate.
struct JobEstimate {
  int64_t peak_memory_bytes = 0;
  int64_t disk_bytes = 0;        // artifact, exports, spilled activations and checkpoints
  int64_t checkpoint_bytes = 0;  // the part of checkpoints: two generations of the largest
  int64_t artifact_bytes = 0;
  double bits_per_weight = 0;
  double multiply_adds = 0;             // of the whole job
  double evaluation_multiply_adds = 0;  // the part of evaluation
  int quantized_layers = 0;
  int skipped_layers = 0;
  bool gradients = false;      // some layer wants them
  std::string gradients_text;  // "hessian_model=boundary, labels=sampled"; empty without
  std::vector<WorkRow> work;   // whose sum is multiply_adds
  std::vector<BoundaryEstimate> boundaries;
  std::vector<RoundEstimate> rounds;
  int64_t statistics_budget_bytes = 0;  // of one round; 0: no limit

  Json ToJson() const;
};

// Of a plan that is complete but for its estimate. `memory_budget_bytes` of 0: no limit.
absl::StatusOr<JobEstimate> EstimateJob(const JobPlan& plan, uint64_t memory_budget_bytes);

// MEMORY_BUDGET_EXCEEDED when a layer's matrices and its block's weights do not fit together: names layer, bytes and
// limit. All else is spilled, or measured in rounds.
absl::Status CheckMemory(const JobPlan& plan, uint64_t memory_budget_bytes);

// The estimate as lines for people, each with its end.
std::string EstimateText(const JobEstimate& estimate);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_JOB_ESTIMATE_H_
