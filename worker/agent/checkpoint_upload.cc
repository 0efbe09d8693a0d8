#include "worker/agent/checkpoint_upload.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/logging.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "worker/agent/retry.h"
#include "worker/agent/upload.h"

namespace quantd {
namespace {

constexpr absl::string_view kManifest = "checkpoint.json";
constexpr absl::Duration kCommitDeadline = absl::Seconds(30);

absl::Status Replaced() {
  return ReasonError(absl::StatusCode::kAborted, "CHECKPOINT_REPLACED", "a newer commit has replaced this one");
}

// A link of the file itself; whatever else a child may have put under that name is not taken.
absl::Status Link(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(from, error))) return Replaced();
  std::filesystem::create_hard_link(from, to, error);
  if (error == std::errc::no_such_file_or_directory) return Replaced();
  return error ? ErrnoError(error.value(), absl::StrCat("linking ", to)) : absl::OkStatus();
}

}  // namespace

CheckpointUpload::CheckpointUpload(ServerConnection& server, FileSystem& files, CheckpointUploadOptions options)
    : server_(server), files_(files), options_(std::move(options)), thread_([this] { Main(); }) {}

CheckpointUpload::~CheckpointUpload() {
  GiveUp();
  thread_.join();
}

void CheckpointUpload::GiveUp() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    if (sending_.has_value()) sending_->request_stop();
  }
  changed_.notify_all();
}

void CheckpointUpload::Offer(const v1::Checkpoint& checkpoint) {
  Linked linked = {.checkpoint = checkpoint,
                   .folder = JoinPath(options_.scratch, absl::StrCat("checkpoint-", ++offered_))};
  const absl::Status taken = TakeLinks(checkpoint, linked.folder);
  if (!taken.ok()) {
    Discard(linked.folder);
    if (ReasonOf(taken) != "CHECKPOINT_REPLACED") {
      Log(Severity::kWarning, "checkpoint_not_sent", {{"job", options_.job}, {"reason", ReasonOf(taken)}},
          taken.message());
    }
    return;
  }
  std::optional<Linked> passed_over = std::move(linked);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::swap(next_, passed_over);
    newest_sent_ = false;
  }
  changed_.notify_all();
  if (passed_over.has_value()) Discard(passed_over->folder);
}

// checkpoint.json first: it is replaced before the files that only it names are removed, so that when its link is the
// announced one, a file that is missing can only mean that a newer commit has come since.
absl::Status CheckpointUpload::TakeLinks(const v1::Checkpoint& checkpoint, const std::string& folder) const {
  RETURN_IF_ERROR(files_.CreateDirectories(folder));
  std::string announced;
  for (const v1::ArtifactFile& file : checkpoint.files()) {
    if (file.path() == kManifest) announced = file.sha256();
  }
  RETURN_IF_ERROR(Link(JoinPath(options_.source, kManifest), JoinPath(folder, kManifest)));
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(JoinPath(folder, kManifest)));
  if (digest != announced) return Replaced();
  for (const v1::ArtifactFile& file : checkpoint.files()) {
    if (file.path() == kManifest) continue;
    RETURN_IF_ERROR(Link(JoinPath(options_.source, file.path()), JoinPath(folder, file.path())));
  }
  return absl::OkStatus();
}

bool CheckpointUpload::Finish(absl::Duration patience, const std::stop_token& stop) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (next_.has_value() && sending_.has_value()) sending_->request_stop();
  const bool idle = changed_.wait_for(lock, stop, absl::ToChronoNanoseconds(patience),
                                      [this] { return !next_.has_value() && !sending_.has_value(); });
  return idle && newest_sent_;
}

void CheckpointUpload::Main() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || next_.has_value(); });
    if (ending_) return;
    const Linked linked = *std::exchange(next_, std::nullopt);
    sending_.emplace();
    const std::stop_token stop = sending_->get_token();
    lock.unlock();
    const absl::Status sent = Send(linked, stop);
    Discard(linked.folder);
    lock.lock();
    sending_.reset();
    if (!next_.has_value()) newest_sent_ = sent.ok();
    changed_.notify_all();
  }
}

absl::Status CheckpointUpload::Send(const Linked& linked, const std::stop_token& stop) {
  v1::CommitCheckpointRequest request;
  request.set_job(options_.job);
  request.set_fence(options_.fence);
  *request.mutable_checkpoint() = linked.checkpoint;
  absl::Status sent = SendMissing(linked, request, stop);
  if (sent.ok()) {
    const CallLimits limits = {.deadline = kCommitDeadline, .stop = stop};
    sent = RetryTransient(stop, [&] { return server_.CommitCheckpoint(request, limits); });
  }
  if (stop.stop_requested()) return absl::CancelledError("given up");
  const std::string block = absl::StrCat(linked.checkpoint.summary().block());
  if (sent.ok()) {
    Log(Severity::kInfo, "checkpoint_committed", {{"job", options_.job}, {"block", block}});
  } else {
    Log(Severity::kWarning, "checkpoint_not_sent",
        {{"job", options_.job}, {"block", block}, {"reason", ReasonOf(sent)}}, sent.message());
  }
  return sent;
}

absl::Status CheckpointUpload::SendMissing(const Linked& linked, const v1::CommitCheckpointRequest& request,
                                           const std::stop_token& stop) {
  const CallLimits limits = {.stop = stop};
  ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                   RetryTransient(stop, [&] { return server_.CheckpointFilesMissing(request, limits); }));
  v1::Artifact wanted;
  for (const v1::ArtifactFile& file : linked.checkpoint.files()) {
    if (std::find(missing.begin(), missing.end(), file.path()) != missing.end()) *wanted.add_files() = file;
  }
  const UploadOptions upload = {.job = options_.job, .fence = options_.fence, .folder = linked.folder};
  return UploadArtifact(server_, files_, upload, wanted, stop);
}

void CheckpointUpload::Discard(const std::string& folder) {
  if (const absl::Status removed = files_.RemoveAll(folder); !removed.ok()) {
    Log(Severity::kWarning, "scratch_not_removed", {{"job", options_.job}}, removed.message());
  }
}

}  // namespace quantd
