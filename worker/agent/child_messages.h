// What a child says while it runs: JSON lines on its progress descriptor, free text on stderr.
//
//   {"phase":"quantize","block":3,"blocks":12,"layer":"model.layers.3.mlp.up_proj","fraction":0.31,"eta_seconds":42}
//   {"error":{"reason":"MODEL_FILE_MALFORMED","message":"/models/x/model.safetensors:
//   ...","field":"spec.model","code":3}}
//   {"checkpoint":{...}}, {"resumed":{...}}, {"checkpoint_refused":{...}}: docs/formats/checkpoint.md
//
// A child may have been fed a hostile model: nothing it writes is trusted, and nothing here grows without bound.
// Thread-compatible.
#ifndef QUANTD_WORKER_AGENT_CHILD_MESSAGES_H_
#define QUANTD_WORKER_AGENT_CHILD_MESSAGES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

inline constexpr size_t kMaxMessageBytes = 256 << 10;  // longer lines are dropped
inline constexpr size_t kLogTailBytes = 16 << 10;

// Cuts a stream of bytes into lines.
class LineSplitter {
 public:
  // The lines that `bytes` completes, without their newline.
  std::vector<std::string> Add(absl::string_view bytes);

 private:
  std::string partial_;
  bool too_long_ = false;  // skip until the next newline
};

// The last `kLogTailBytes` of a text, beginning at a line where possible, as valid UTF-8: other bytes become '?'.
class LogTail {
 public:
  void Add(absl::string_view bytes);
  std::string Text() const;

 private:
  std::string bytes_;
  bool cut_ = false;
};

// Progress, error and checkpoints as told so far.
class ChildMessages {
 public:
  enum class News { kNothing, kProgress, kError, kCheckpoint, kResumed, kRefused };

  // What `line` told; kNothing when it was no message of a known kind.
  News AddLine(absl::string_view line);

  // The fraction never decreases and stays within 0..1; counts and times are never negative.
  const v1::JobProgress& progress() const { return progress_; }
  // With reason and message; the caller adds how the process ended.
  const std::optional<v1::JobError>& error() const { return error_; }
  // The last one committed. Its files' names are flat ([A-Za-z0-9._-]), so that they name nothing outside its folder.
  const std::optional<v1::Checkpoint>& checkpoint() const { return checkpoint_; }
  // Where the child went on, when it was given a checkpoint and took it.
  const std::optional<v1::CheckpointSummary>& resumed() const { return resumed_; }
  // Why it did not take it; empty otherwise.
  const std::string& refusal() const { return refusal_; }

 private:
  v1::JobProgress progress_;
  std::optional<v1::JobError> error_;
  std::optional<v1::Checkpoint> checkpoint_;
  std::optional<v1::CheckpointSummary> resumed_;
  std::string refusal_;
};

// [A-Za-z0-9._-], not empty, at most 255 bytes, not beginning with a dot.
bool IsFlatFileName(absl::string_view name);

// `text` with each byte that is not part of valid UTF-8 replaced by '?': protobuf strings hold nothing else.
std::string ValidUtf8(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_CHILD_MESSAGES_H_
