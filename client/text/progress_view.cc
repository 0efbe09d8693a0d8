#include "client/text/progress_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/text/error_text.h"
#include "client/text/quantity.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

constexpr int kBarCells = 20;
// A terminal is rewritten at most so often.
constexpr absl::Duration kTerminalPeriod = absl::Milliseconds(100);

double Clamp(double fraction) {
  return fraction >= 0 ? std::min(fraction, 1.0) : 0.0;
}

std::string Bar(double fraction) {
  const int filled = static_cast<int>(Clamp(fraction) * kBarCells);
  return absl::StrCat("[", std::string(filled, '#'), std::string(kBarCells - filled, '.'), "]");
}

bool IsMoving(const v1::QuantJob& job) {
  return job.state() == v1::QuantJob::RUNNING || job.state() == v1::QuantJob::CANCELLING;
}

std::string RunningText(const v1::JobProgress& progress, bool with_bar) {
  std::string text = absl::StrFormat("%-9s ", Printable(progress.phase().empty() ? "starting" : progress.phase()));
  if (with_bar) absl::StrAppend(&text, Bar(progress.fraction()), " ");
  absl::StrAppendFormat(&text, "%3d %%", static_cast<int>(100 * Clamp(progress.fraction())));
  if (progress.blocks() > 0) absl::StrAppendFormat(&text, "  block %d/%d", progress.block(), progress.blocks());
  if (!progress.layer().empty()) absl::StrAppend(&text, "  ", Printable(progress.layer()));
  if (progress.eta_seconds() > 0) absl::StrAppend(&text, "  ETA ", DurationText(progress.eta_seconds()));
  return text;
}

std::string JobText(const v1::QuantJob& job, bool with_bar) {
  if (job.state() == v1::QuantJob::RUNNING) return RunningText(job.progress(), with_bar);
  if (IsMoving(job)) return absl::StrCat(StateName(job.state()), "  ", RunningText(job.progress(), with_bar));
  std::string text = StateName(job.state());
  if (IsTerminal(job.state())) return text;
  for (const std::string& condition : job.conditions()) absl::StrAppend(&text, "  ", Printable(condition));
  return text;
}

}  // namespace

ProgressView::ProgressView(std::ostream& out, Clock& clock, const ProgressStyle& style)
    : out_(out), clock_(clock), style_(style) {}

ProgressView::~ProgressView() {
  if (line_is_open_) out_ << std::endl;
}

void ProgressView::Show(const v1::QuantJob& job) {
  const std::string phase = IsMoving(job) ? job.progress().phase() : "";
  Write(JobText(job, style_.is_terminal), absl::StrCat(StateName(job.state()), " ", phase, " ", job.attempt()));
}

void ProgressView::ShowBytes(const std::string& what, int64_t done_bytes, int64_t total_bytes) {
  const double fraction = total_bytes > 0 ? static_cast<double>(done_bytes) / static_cast<double>(total_bytes) : 1;
  const std::string bar = style_.is_terminal ? Bar(fraction) + " " : "";
  Write(absl::StrFormat("%s%3d %%  %s of %s  %s", bar, static_cast<int>(100 * Clamp(fraction)), BytesText(done_bytes),
                        BytesText(total_bytes), Printable(what)),
        done_bytes < total_bytes ? "download" : "downloaded");
}

void ProgressView::Write(const std::string& line, const std::string& topic) {
  const absl::Time now = clock_.Now();
  const absl::Duration period = style_.is_terminal ? kTerminalPeriod : style_.period;
  if (topic == topic_ && now - last_line_ < period) return;
  topic_ = topic;
  last_line_ = now;
  if (style_.is_terminal) {
    Rewrite(line);
  } else {
    out_ << line << std::endl;
  }
}

void ProgressView::Rewrite(const std::string& line) {
  const size_t width = static_cast<size_t>(std::max(style_.width - 1, 20));
  // Carriage return, then "erase to the end of the line".
  out_ << '\r' << line.substr(0, width) << "\x1b[K" << std::flush;
  line_is_open_ = true;
}

}  // namespace quantd
