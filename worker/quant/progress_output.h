// Progress for people (a bar on a terminal, now and then a line elsewhere) and for the worker agent (JSON lines on a
// descriptor).
#ifndef QUANTD_WORKER_QUANT_PROGRESS_OUTPUT_H_
#define QUANTD_WORKER_QUANT_PROGRESS_OUTPUT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/pipeline/checkpointer.h"
#include "core/pipeline/progress.h"

namespace quantd {

class ProgressOutput {
 public:
  // `descriptor` < 0: for people, on stderr.
  explicit ProgressOutput(int descriptor);
  void Show(const ProgressState& state);
  // The lines of docs/formats/checkpoint.md on a descriptor; for people a sentence on stderr, and none for a commit.
  void ShowCheckpoint(const CheckpointNotice& notice);
  void ShowResumed(const CheckpointNotice& notice);
  void ShowCheckpointProblem(const absl::Status& problem);
  // Ends the bar's line; on a descriptor, writes the error line when `status` is not OK.
  void Finish(const absl::Status& status);

 private:
  void WriteLine(const std::string& line);
  void Say(const std::string& sentence);
  int descriptor_;
  bool on_terminal_;
  bool bar_shown_ = false;
  std::string last_phase_;
  absl::Time last_shown_ = absl::InfinitePast();
};

}  // namespace quantd

#endif  // QUANTD_WORKER_QUANT_PROGRESS_OUTPUT_H_
