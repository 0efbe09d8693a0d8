// Shows how a job gets on: one line that is rewritten on a terminal, else plain lines, few of them.
//
//   quantize  [############........]  61 %  block 20/32  model.layers.19.mlp.up_proj  ETA 1:05
#ifndef QUANTD_CLIENT_TEXT_PROGRESS_VIEW_H_
#define QUANTD_CLIENT_TEXT_PROGRESS_VIEW_H_

#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

struct ProgressStyle {
  bool is_terminal = false;
  int width = 80;  // columns of the terminal
  // Between plain lines within one phase; a new phase or state is told at once.
  absl::Duration period = absl::Seconds(5);
};

class ProgressView {
 public:
  ProgressView(std::ostream& out, Clock& clock, const ProgressStyle& style);
  // Ends the line that is being rewritten.
  ~ProgressView();
  ProgressView(const ProgressView&) = delete;
  ProgressView& operator=(const ProgressView&) = delete;

  void Show(const v1::QuantJob& job);
  // Download progress, in the same place.
  void ShowBytes(const std::string& what, int64_t done_bytes, int64_t total_bytes);

 private:
  // `topic` changes when the line must be shown whatever the time.
  void Write(const std::string& line, const std::string& topic);
  void Rewrite(const std::string& line);

  std::ostream& out_;
  Clock& clock_;
  ProgressStyle style_;
  std::string topic_;
  absl::Time last_line_ = absl::InfinitePast();
  bool line_is_open_ = false;
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_PROGRESS_VIEW_H_
