// Progress for people (a bar on a terminal, now and then a line elsewhere) and for the worker agent (JSON lines on a
// descriptor).
#ifndef QUANTD_WORKER_QUANT_PROGRESS_OUTPUT_H_
#define QUANTD_WORKER_QUANT_PROGRESS_OUTPUT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/pipeline/progress.h"

namespace quantd {

class ProgressOutput {
 public:
  // `descriptor` < 0: for people, on stderr.
  explicit ProgressOutput(int descriptor);
  void Show(const ProgressState& state);
  // Ends the bar's line; on a descriptor, writes the error line when `status` is not OK.
  void Finish(const absl::Status& status);

 private:
  void WriteLine(const std::string& line);
  int descriptor_;
  bool on_terminal_;
  bool bar_shown_ = false;
  std::string last_phase_;
  absl::Time last_shown_ = absl::InfinitePast();
};

}  // namespace quantd

#endif  // QUANTD_WORKER_QUANT_PROGRESS_OUTPUT_H_
