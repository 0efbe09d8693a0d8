// Decides when a running job commits a checkpoint, and does it.
//
// A commit is due at the end of a block of quantization; when the interval has passed since the last one, stretched so
// that commits take at most 2 % of the time; and when 6 % of the job's work has been done since, whatever it costs. A
// cancelled job commits once more if that can be done in half a second. A commit that fails is reported and tried again
// when the next is due: the job does not depend on it.
#ifndef QUANTD_CORE_PIPELINE_CHECKPOINTER_H_
#define QUANTD_CORE_PIPELINE_CHECKPOINTER_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/pipeline/checkpoint_folder.h"
#include "core/pipeline/progress.h"
#include "core/pipeline/quantize_model.h"
#include "core/pipeline/report.h"

namespace quantd {

inline constexpr absl::Duration kDefaultCheckpointInterval = absl::Seconds(10);

// What is told about a checkpoint that was committed, or gone on from.
struct CheckpointNotice {
  int64_t generation = 0;
  std::string phase;  // quantize, evaluate
  int block = 0;      // finished blocks
  int blocks = 0;
  double fraction = 0;
  uint64_t size_bytes = 0;
  std::string fingerprint;
  std::vector<CheckpointFile> files;  // checkpoint.json first; empty for one gone on from
};

struct CheckpointOptions {
  std::string folder;                                    // empty: no checkpoints
  absl::Duration interval = kDefaultCheckpointInterval;  // zero: at every safe point
  std::function<void(const CheckpointNotice&)> on_commit = {};
  std::function<void(const CheckpointNotice&)> on_resume = {};
  // CHECKPOINT_REFUSED: the job begins anew. Else why a commit failed.
  std::function<void(const absl::Status&)> on_problem = {};
};

// Where a job is, beside its finished blocks. Valid during the call it is passed to.
struct JobState {
  std::string phase;
  std::string place_json;
  std::vector<StatePart> parts;
  std::vector<LayerRecord> layers;  // of an unfinished block
};

class Checkpointer {
 public:
  // The arguments outlive this object.
  Checkpointer(FileSystem& files, const CheckpointOptions& options, Progress& progress);

  bool enabled() const { return !options_.folder.empty(); }
  // Reads the folder. A checkpoint of these inputs becomes saved(); another is refused and removed.
  // CHECKPOINT_FOLDER_FOREIGN; what the file system says.
  absl::Status Open(std::string inputs_json);
  // What to go on from; null: the beginning.
  const CheckpointDocument* saved() const { return saved_.has_value() ? &*saved_ : nullptr; }
  // The job cannot go on from saved() after all. It must begin anew.
  absl::Status Refuse(const absl::Status& why);
  CheckpointFolder& folder() { return folder_; }

  // A block is finished: its shard in the artifact and its layers.
  void AddBlock(std::string shard, const std::vector<LayerRecord>& layers);
  // Commits when it is due. Never fails for a commit's sake.
  void AtSafePoint(SafePoint point, absl::FunctionRef<JobState()> state);

  // The artifact is in place: nothing is left to go on with.
  absl::Status Remove();
  const CheckpointFigures& figures() const { return figures_; }

 private:
  bool IsDue(SafePoint point) const;
  bool IsAffordable(const JobState& state) const;
  void Commit(const JobState& state);
  absl::Status TryCommit(const JobState& state);
  CheckpointNotice Notice(const CheckpointDocument& document) const;
  void Tell(const absl::Status& problem) const;

  const CheckpointOptions& options_;
  Progress& progress_;
  CheckpointFolder folder_;
  std::string inputs_json_;
  std::optional<CheckpointDocument> saved_;
  int64_t generation_ = 0;
  std::vector<std::string> shards_;
  std::vector<LayerRecord> layers_;
  absl::Time last_time_;     // end of the last attempt
  double last_seconds_ = 0;  // it took
  double last_work_ = 0;     // progress then
  CheckpointFigures figures_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_CHECKPOINTER_H_
