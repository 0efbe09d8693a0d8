#include "worker/agent/job_runner.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "worker/agent/job_files.h"
#include "worker/agent/rpc_status.h"
#include "worker/agent/upload.h"

namespace quantd {
namespace {

absl::Status TooLarge(const v1::FinishedJob& finished) {
  return ReasonError(
      absl::StatusCode::kResourceExhausted, "RESULT_TOO_LARGE",
      absl::StrFormat("report and list of files have %d bytes together, the server takes at most %d: the report of %d "
                      "layers has %d bytes, the artifact %d files; choose fewer exports, or a model with fewer layers",
                      finished.ByteSizeLong(), kMaxResultBytes, finished.report().layers_size(),
                      finished.report().ByteSizeLong(), finished.artifact().files_size()));
}

}  // namespace

JobRunner::JobRunner(const RunnerOptions& options, RunnerServices services, v1::Assignment assignment,
                     std::function<void(Change)> on_change)
    : options_(options),
      services_(services),
      assignment_(std::move(assignment)),
      on_change_(std::move(on_change)),
      scratch_(JoinPath(options.scratch_dir, ScratchName(assignment_.job(), assignment_.fence()))),
      thread_([this] { Main(); }) {}

JobRunner::~JobRunner() {
  Stop(StopReason::kLostLease);
  thread_.join();
}

bool JobRunner::Stop(StopReason reason) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (reason <= stop_reason_) return false;
    stop_reason_ = reason;
  }
  stop_.request_stop();
  return true;
}

StopReason JobRunner::stop_reason() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stop_reason_;
}

v1::JobProgress JobRunner::progress() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return progress_;
}

bool JobRunner::ended() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ended_;
}

std::optional<v1::FinishedJob> JobRunner::result() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return result_;
}

void JobRunner::SetProgress(const v1::JobProgress& progress) {
  bool new_phase;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    new_phase = progress.phase() != progress_.phase();
    progress_ = progress;
  }
  on_change_(new_phase ? Change::kPhase : Change::kProgress);
}

void JobRunner::Main() {
  std::optional<v1::FinishedJob> result;
  try {
    result = Run();
  } catch (const std::bad_alloc&) {  // this job's failure, not the worker's; the same below
    result = Failed(ReasonError(absl::StatusCode::kResourceExhausted, "MEMORY_EXHAUSTED",
                                "the worker ran out of memory beside the job's own process; give its host more memory, "
                                "or the worker fewer --slots"));
  } catch (const std::exception& error) {
    result = Failed(absl::InternalError(error.what()));
  }
  if (const absl::Status removed = services_.files.RemoveAll(scratch_); !removed.ok()) {
    Log(Severity::kWarning, "scratch_not_removed", {{"job", assignment_.job()}}, removed.message());
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    result_ = std::move(result);
    ended_ = true;
  }
  on_change_(Change::kEnd);
}

std::optional<v1::FinishedJob> JobRunner::Run() {
  const absl::StatusOr<ChildEnd> end = RunChild();
  if (stop_reason() != StopReason::kNone) return StoppedResult();
  if (!end.ok()) return Failed(end.status());
  if (end->status.signal == 0 && end->status.exit_code == 0) return Publish();
  v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_FAILED);
  *finished.mutable_error() = FailureOf(*end);
  return finished;
}

absl::StatusOr<ChildEnd> JobRunner::RunChild() {
  RETURN_IF_ERROR(PrepareScratch(services_.files, scratch_, assignment_.spec()));
  ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child, services_.spawner.Spawn(ChildCommand()));
  ChildRunOptions watch;
  watch.grace = options_.grace;
  watch.stop_reason = [this] { return stop_reason(); };
  watch.on_progress = [this](const v1::JobProgress& progress) { SetProgress(progress); };
  return WatchChild(*child, watch);
}

SpawnOptions JobRunner::ChildCommand() const {
  SpawnOptions command;
  command.argv = {options_.quant_path,
                  "run",
                  "--job",
                  JobFilePath(scratch_),
                  "--model-root",
                  options_.model_root,
                  "--data-root",
                  options_.data_root,
                  "--out",
                  ArtifactPath(scratch_),
                  "--progress-fd",
                  absl::StrCat(kChildProgressFd),
                  "--threads",
                  absl::StrCat(options_.threads),
                  "--json"};
  command.directory = scratch_;
  command.environment = ChildEnvironment();
  command.environment.push_back(absl::StrCat("TMPDIR=", scratch_));
  command.memory_limit_bytes = options_.memory_limit_bytes;
  return command;
}

std::optional<v1::FinishedJob> JobRunner::Publish() {
  v1::JobProgress publishing = progress();
  publishing.set_phase("publish");
  publishing.clear_layer();
  publishing.clear_eta_seconds();
  SetProgress(publishing);

  const std::string folder = ArtifactPath(scratch_);
  absl::StatusOr<v1::QuantReport> report = ReadReport(services_.files, folder);
  if (!report.ok()) return Failed(report.status());
  absl::StatusOr<v1::Artifact> artifact = DescribeArtifact(folder, stop_.get_token());
  if (stop_reason() != StopReason::kNone) return StoppedResult();
  if (!artifact.ok()) return Failed(artifact.status());
  v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_SUCCEEDED);
  *finished.mutable_artifact() = *std::move(artifact);
  *finished.mutable_report() = *std::move(report);
  if (finished.ByteSizeLong() > kMaxResultBytes) return Failed(TooLarge(finished));
  const UploadOptions upload = {.job = assignment_.job(), .fence = assignment_.fence(), .folder = folder};
  const absl::Status uploaded =
      UploadArtifact(services_.server, services_.files, upload, finished.artifact(), stop_.get_token());
  if (stop_reason() != StopReason::kNone) return StoppedResult();
  if (IsStaleLease(uploaded)) return std::nullopt;
  if (!uploaded.ok()) return Failed(uploaded);
  return finished;
}

std::optional<v1::FinishedJob> JobRunner::StoppedResult() const {
  switch (stop_reason()) {
    case StopReason::kCancel:
      return Finished(v1::FinishedJob::OUTCOME_CANCELLED);
    case StopReason::kDrain:
      return Finished(v1::FinishedJob::OUTCOME_RETURNED);
    default:
      return std::nullopt;
  }
}

v1::FinishedJob JobRunner::Finished(v1::FinishedJob::Outcome outcome) const {
  v1::FinishedJob finished;
  finished.set_job(assignment_.job());
  finished.set_fence(assignment_.fence());
  finished.set_outcome(outcome);
  return finished;
}

v1::FinishedJob JobRunner::Failed(const absl::Status& status) const {
  v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_FAILED);
  v1::JobError& error = *finished.mutable_error();
  error.set_reason(ReasonOf(status).empty() ? "WORKER_ERROR" : ReasonOf(status));
  error.set_message(std::string(status.message()));
  error.set_phase(progress().phase());
  return finished;
}

}  // namespace quantd
