#include "worker/agent/child_messages.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/json.h"

namespace quantd {
namespace {

constexpr absl::string_view kWhat = "message of the child";
constexpr size_t kMaxNameBytes = 512;
constexpr size_t kMaxErrorBytes = 4096;
constexpr size_t kMaxFileNameBytes = 255;

std::string Text(const Json& object, absl::string_view key, absl::string_view fallback, size_t max_bytes) {
  const absl::StatusOr<std::string> text = JsonStringOr(object, key, fallback, kWhat);
  return text.ok() ? ValidUtf8(absl::string_view(*text).substr(0, max_bytes)) : std::string(fallback);
}

int32_t Count(const Json& object, absl::string_view key, int32_t fallback) {
  const absl::StatusOr<int64_t> count = JsonIntOr(object, key, fallback, kWhat);
  return count.ok() ? static_cast<int32_t>(std::clamp<int64_t>(*count, 0, INT32_MAX)) : fallback;
}

int64_t Bytes(const Json& object, absl::string_view key) {
  const absl::StatusOr<int64_t> bytes = JsonIntOr(object, key, 0, kWhat);
  return bytes.ok() ? std::max<int64_t>(*bytes, 0) : 0;
}

double Number(const Json& object, absl::string_view key, double fallback) {
  const absl::StatusOr<double> number = JsonDoubleOr(object, key, fallback, kWhat);
  return number.ok() && std::isfinite(*number) ? std::max(*number, 0.0) : fallback;
}

// Keys that a line leaves out keep their value, except that a new phase begins with no block, layer or estimate.
v1::JobProgress Updated(const v1::JobProgress& old, const Json& line) {
  v1::JobProgress progress = old;
  progress.set_phase(Text(line, "phase", old.phase(), kMaxNameBytes));
  if (progress.phase() != old.phase()) {
    progress.set_block(0);
    progress.clear_layer();
    progress.clear_eta_seconds();
  }
  progress.set_block(Count(line, "block", progress.block()));
  progress.set_blocks(Count(line, "blocks", progress.blocks()));
  progress.set_layer(Text(line, "layer", progress.layer(), kMaxNameBytes));
  progress.set_fraction(std::clamp(Number(line, "fraction", 0), old.fraction(), 1.0));
  progress.set_eta_seconds(Number(line, "eta_seconds", progress.eta_seconds()));
  return progress;
}

v1::JobError ErrorOf(const Json& object) {
  const std::string message = Text(object, "message", "the job failed without saying why", kMaxErrorBytes);
  const std::string field = Text(object, "field", "", kMaxNameBytes);
  v1::JobError error;
  error.set_reason(Text(object, "reason", "", kMaxNameBytes));
  if (error.reason().empty()) error.set_reason("JOB_FAILED");
  error.set_message(absl::StrContains(message, field) ? message : absl::StrCat(field, ": ", message));
  return error;
}

v1::CheckpointSummary SummaryOf(const Json& object) {
  v1::CheckpointSummary summary;
  summary.set_block(Count(object, "block", 0));
  summary.set_blocks(Count(object, "blocks", 0));
  summary.set_phase(Text(object, "phase", "", kMaxNameBytes));
  summary.set_size_bytes(Bytes(object, "size_bytes"));
  return summary;
}

// Nothing when a file has no usable name: such a set could not be put back together.
std::optional<v1::Checkpoint> CheckpointOf(const Json& object) {
  v1::Checkpoint checkpoint;
  *checkpoint.mutable_summary() = SummaryOf(object);
  checkpoint.set_fingerprint(Text(object, "fingerprint", "", kMaxNameBytes));
  const auto files = object.find("files");
  if (files == object.end() || !files->is_array()) return std::nullopt;
  for (const Json& entry : *files) {
    if (!entry.is_object()) return std::nullopt;
    v1::ArtifactFile* file = checkpoint.add_files();
    file->set_path(Text(entry, "path", "", kMaxNameBytes));
    file->set_size_bytes(Bytes(entry, "size_bytes"));
    file->set_sha256(Text(entry, "sha256", "", kMaxNameBytes));
    if (!IsFlatFileName(file->path())) return std::nullopt;
  }
  return checkpoint;
}

// Length of the valid UTF-8 sequence at the start of `text`, 0 when there is none (RFC 3629: shortest forms, no
// surrogates, at most U+10FFFF).
size_t SequenceLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool out_of_range = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  return overlong || out_of_range ? 0 : length;
}

}  // namespace

bool IsFlatFileName(absl::string_view name) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxFileNameBytes && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string ValidUtf8(absl::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    absl::StrAppend(&result, length == 0 ? "?" : text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

std::vector<std::string> LineSplitter::Add(absl::string_view bytes) {
  std::vector<std::string> lines;
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const absl::string_view piece = bytes.substr(0, newline);
    if (partial_.size() + piece.size() > kMaxMessageBytes) too_long_ = true;
    if (!too_long_) absl::StrAppend(&partial_, piece);
    if (newline == absl::string_view::npos) break;
    if (!too_long_) lines.push_back(std::move(partial_));
    partial_.clear();
    too_long_ = false;
    bytes.remove_prefix(newline + 1);
  }
  return lines;
}

void LogTail::Add(absl::string_view bytes) {
  absl::StrAppend(&bytes_, bytes);
  if (bytes_.size() <= kLogTailBytes) return;
  bytes_.erase(0, bytes_.size() - kLogTailBytes);
  cut_ = true;
}

std::string LogTail::Text() const {
  absl::string_view text = bytes_;
  if (cut_) {
    const size_t newline = text.find('\n');
    if (newline != absl::string_view::npos && newline + 1 < text.size()) text.remove_prefix(newline + 1);
  }
  return ValidUtf8(text);
}

ChildMessages::News ChildMessages::AddLine(absl::string_view line) {
  const absl::StatusOr<Json> message = ParseJson(line, kWhat, kMaxMessageBytes);
  if (!message.ok() || !message->is_object()) return News::kNothing;
  const auto part = [&](const char* key) -> const Json* {
    const auto found = message->find(key);
    return found != message->end() && found->is_object() ? &*found : nullptr;
  };
  if (const Json* error = part("error")) {
    error_ = ErrorOf(*error);
    return News::kError;
  }
  if (const Json* committed = part("checkpoint")) {
    std::optional<v1::Checkpoint> checkpoint = CheckpointOf(*committed);
    if (!checkpoint.has_value()) return News::kNothing;
    checkpoint_ = std::move(checkpoint);
    return News::kCheckpoint;
  }
  if (const Json* resumed = part("resumed")) {
    resumed_ = SummaryOf(*resumed);
    return News::kResumed;
  }
  if (const Json* refused = part("checkpoint_refused")) {
    refusal_ = Text(*refused, "message", "the checkpoint was refused without a reason", kMaxErrorBytes);
    return News::kRefused;
  }
  if (!message->contains("phase")) return News::kNothing;
  progress_ = Updated(progress_, *message);
  return News::kProgress;
}

}  // namespace quantd
