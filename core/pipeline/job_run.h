// The stages of a job after planning, each writing into the unfinished artifact folder.
#ifndef QUANTD_CORE_PIPELINE_JOB_RUN_H_
#define QUANTD_CORE_PIPELINE_JOB_RUN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/pipeline/artifact_writer.h"
#include "core/pipeline/checkpointer.h"
#include "core/pipeline/job_plan.h"
#include "core/pipeline/run_job.h"

namespace quantd {

struct JobRunParts {
  const ExecutionContext& context;
  const RunOptions& options;
  const JobPlan& plan;
  const std::string& model_fingerprint;
  Progress& progress;
  Checkpointer& checkpointer;
};

// One attempt, from the checkpointer's saved place or from the beginning. Used once.
class JobRun {
 public:
  explicit JobRun(const JobRunParts& parts);
  // The folder is removed when it fails.
  absl::StatusOr<Report> Run();

 private:
  absl::Status PrepareFolder();
  absl::Status CheckDisk(const std::string& folder, int64_t needed_bytes);
  absl::Status Work();

  absl::Status Quantize();
  absl::Status RestoreBlocks(const CheckpointDocument& saved);
  absl::StatusOr<SavedQuantization> SavedPlace(const CheckpointDocument& saved) const;
  absl::Status FinishBlock(int block, const std::vector<QuantizedSite>& sites);
  void OfferQuantized(SafePoint point, absl::FunctionRef<QuantizeState()> state);
  absl::Status Pack();

  absl::Status EvaluateAndExport();
  absl::Status Evaluate(const Transformer& quantized);
  absl::StatusOr<Comparison> Compare(const Transformer& quantized);
  absl::Status MeasureSpeeds(const Transformer& quantized);
  absl::Status Export(const ArtifactWeights& artifact, const std::string& name);

  absl::Status Publish();
  absl::Status FillMeasurements();

  JobRunParts parts_;
  const JobPlan& plan_;
  Progress& progress_;
  FileSystem& files_ = RealFileSystem();
  const std::string folder_;
  ArtifactWriter writer_;
  Manifest manifest_;
  Report report_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_JOB_RUN_H_
