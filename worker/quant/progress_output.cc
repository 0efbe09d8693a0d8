#include "worker/quant/progress_output.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

constexpr absl::Duration kMachineInterval = absl::Milliseconds(200);
constexpr absl::Duration kTerminalInterval = absl::Milliseconds(100);
constexpr absl::Duration kLineInterval = absl::Seconds(5);
constexpr int kBarWidth = 30;

std::string HumanLine(const ProgressState& state) {
  const std::string eta = state.eta_seconds > 0 ? absl::StrFormat(", %.0f s left", state.eta_seconds) : "";
  return absl::StrFormat("%3.0f %% %-9s block %d of %d%s %s", 100 * state.fraction, state.phase, state.block,
                         state.blocks, eta, state.layer);
}

std::string Bar(double fraction) {
  const int filled = static_cast<int>(fraction * kBarWidth);
  return std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(kBarWidth - filled), '.');
}

Json NoticeJson(const CheckpointNotice& notice) {
  return {{"generation", notice.generation},  {"phase", notice.phase},       {"block", notice.block},
          {"blocks", notice.blocks},          {"fraction", notice.fraction}, {"size_bytes", notice.size_bytes},
          {"fingerprint", notice.fingerprint}};
}

}  // namespace

ProgressOutput::ProgressOutput(int descriptor) : descriptor_(descriptor), on_terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressOutput::Show(const ProgressState& state) {
  const absl::Time now = absl::Now();
  const absl::Duration interval = descriptor_ >= 0 ? kMachineInterval
                                  : on_terminal_   ? kTerminalInterval
                                                   : kLineInterval;
  if (state.phase == last_phase_ && now - last_shown_ < interval) return;
  last_phase_ = state.phase;
  last_shown_ = now;
  if (descriptor_ >= 0) {
    const Json line{{"phase", state.phase}, {"block", state.block},       {"blocks", state.blocks},
                    {"layer", state.layer}, {"fraction", state.fraction}, {"eta_seconds", state.eta_seconds}};
    WriteLine(line.dump() + "\n");
  } else if (on_terminal_) {
    bar_shown_ = true;
    std::fprintf(stderr, "\r\033[K[%s] %s", Bar(state.fraction).c_str(), HumanLine(state).c_str());
  } else {
    std::fprintf(stderr, "%s\n", HumanLine(state).c_str());
  }
}

void ProgressOutput::ShowCheckpoint(const CheckpointNotice& notice) {
  if (descriptor_ < 0) return;
  Json json = NoticeJson(notice);
  json["files"] = Json::array();
  for (const CheckpointFile& file : notice.files) {
    json["files"].push_back({{"path", file.path}, {"size_bytes", file.size_bytes}, {"sha256", file.sha256}});
  }
  WriteLine(Json{{"checkpoint", std::move(json)}}.dump() + "\n");
}

void ProgressOutput::ShowResumed(const CheckpointNotice& notice) {
  Say(absl::StrFormat("going on from a checkpoint: %.0f %%, %s, block %d of %d", 100 * notice.fraction, notice.phase,
                      notice.block, notice.blocks));
  if (descriptor_ >= 0) WriteLine(Json{{"resumed", NoticeJson(notice)}}.dump() + "\n");
}

void ProgressOutput::ShowCheckpointProblem(const absl::Status& problem) {
  const std::string reason = ReasonOf(problem);
  const std::string message(problem.message());
  Say(absl::StrCat(reason, ": ", message));
  if (descriptor_ < 0) return;
  const char* const kind = reason == "CHECKPOINT_REFUSED" ? "checkpoint_refused" : "checkpoint_failed";
  const Json json = {{"reason", reason}, {"message", message}};
  WriteLine(Json{{kind, json}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void ProgressOutput::Say(const std::string& sentence) {
  std::fprintf(stderr, "%s%s\n", bar_shown_ ? "\r\033[K" : "", sentence.c_str());
}

void ProgressOutput::Finish(const absl::Status& status) {
  if (bar_shown_) std::fprintf(stderr, "\r\033[K");
  if (descriptor_ >= 0 && !status.ok()) WriteLine(ErrorJson(status).dump() + "\n");
}

void ProgressOutput::WriteLine(const std::string& line) {
  // The reader may be gone; the job does not depend on it.
  [[maybe_unused]] const ssize_t written = write(descriptor_, line.data(), line.size());
}

}  // namespace quantd
