#include "worker/agent/job_runner.h"

#include <signal.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/container_limits.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "worker/agent/checkpoint_download.h"
#include "worker/agent/host.h"
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

// What publishing may find wrong with the child's own work; anything else is the host's or the server's trouble, which
// another attempt may not meet.
constexpr absl::string_view kOwnFaults[] = {"ARTIFACT_MALFORMED", "REPORT_MALFORMED", "RESULT_TOO_LARGE",
                                            "FILE_NOT_FOUND",     "SPEC_MALFORMED",   "FILE_TOO_LARGE",
                                            "MODEL_NOT_FOUND"};

bool IsOwnFault(const absl::Status& status) {
  const auto* const end = std::end(kOwnFaults);
  return std::find(std::begin(kOwnFaults), end, ReasonOf(status)) != end ||
         status.code() == absl::StatusCode::kInvalidArgument;
}

constexpr absl::Duration kObserveInterval = absl::Milliseconds(500);

}  // namespace

JobRunner::JobRunner(const RunnerOptions& options, RunnerServices services, v1::Assignment assignment,
                     std::function<void(Change)> on_change)
    : options_(options),
      services_(services),
      assignment_(std::move(assignment)),
      on_change_(std::move(on_change)),
      scratch_(JoinPath(options.scratch_dir, ScratchName(assignment_.job(), assignment_.fence()))),
      started_at_(std::chrono::steady_clock::now()),
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
  before_child_.request_stop();
  // A drain waits for an upload that is under way as long as it can.
  if (reason > StopReason::kDrain) stop_.request_stop();
  return true;
}

void JobRunner::EnforceRunDeadline(TimePoint now) {
  const absl::Duration limit = absl::Milliseconds(assignment_.run_timeout_ms());
  if (limit > absl::ZeroDuration() && absl::FromChrono(now - started_at_) > limit) Stop(StopReason::kRunDeadline);
}

StopReason JobRunner::stop_reason() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stop_reason_;
}

bool JobRunner::IsStopped() const {
  return stop_reason() > StopReason::kDrain;
}

v1::RunningJob JobRunner::running() const {
  v1::RunningJob running;
  running.set_job(assignment_.job());
  running.set_fence(assignment_.fence());
  const std::lock_guard<std::mutex> lock(mutex_);
  *running.mutable_progress() = progress_;
  running.set_memory_bytes(memory_bytes_);
  return running;
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

JobRunner::Result JobRunner::Run() {
  const absl::Status prepared = Prepare();
  if (stop_reason() != StopReason::kNone) return StoppedResult();
  if (IsStaleLease(prepared)) return std::nullopt;
  if (!prepared.ok()) return Failed(prepared);
  CheckpointUpload upload(services_.server, services_.files,
                          {.job = assignment_.job(),
                           .fence = assignment_.fence(),
                           .source = CheckpointPath(scratch_),
                           .scratch = scratch_});
  const absl::StatusOr<ChildEnd> end = RunChild(upload);
  return end.ok() ? ResultOf(*end, upload) : Failed(end.status());
}

absl::Status JobRunner::Prepare() {
  RETURN_IF_ERROR(PlaceModel());
  v1::Assignment placed = assignment_;
  placed.mutable_spec()->set_model(model_.name);
  RETURN_IF_ERROR(PrepareScratch(services_.files, scratch_, placed));
  return assignment_.has_checkpoint() ? FetchCheckpoint() : absl::OkStatus();
}

// The job's own process has no network: what it reads is here before it starts.
absl::Status JobRunner::PlaceModel() {
  if (IsS3Uri(assignment_.spec().model())) {
    v1::JobProgress fetching;
    fetching.set_phase("fetch");
    SetProgress(fetching);
  }
  const auto stop = [token = before_child_.get_token()] { return token.stop_requested(); };
  ASSIGN_OR_RETURN(model_, LocateModel(assignment_.spec().model(), {options_.model_root, options_.model_cache},
                                       ModelExtent::kWhole, stop));
  return absl::OkStatus();
}

absl::Status JobRunner::FetchCheckpoint() {
  const CheckpointDownloadOptions download = {
      .job = assignment_.job(), .fence = assignment_.fence(), .folder = CheckpointPath(scratch_)};
  const absl::Status fetched = DownloadCheckpoint(services_.server, services_.files, download, assignment_.checkpoint(),
                                                  before_child_.get_token());
  if (!IsUnusableCheckpoint(fetched)) return fetched;
  warning_ = absl::StrCat("the checkpoint could not be used, the job began anew: ", fetched.message());
  Log(Severity::kWarning, "checkpoint_refused", {{"job", assignment_.job()}, {"reason", ReasonOf(fetched)}},
      fetched.message());
  return absl::OkStatus();
}

absl::StatusOr<ChildEnd> JobRunner::RunChild(CheckpointUpload& upload) {
  kills_before_ = OutOfMemoryKills();
  ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child, services_.spawner.Spawn(ChildCommand()));
  ChildRunOptions watch;
  watch.grace = options_.grace;
  watch.drain_grace = options_.drain_grace / 2;
  watch.stop_reason = [&] {
    Observe(*child);
    return stop_reason();
  };
  watch.on_progress = [this](const v1::JobProgress& progress) { SetProgress(progress); };
  watch.on_checkpoint = [&](const v1::Checkpoint& checkpoint) { upload.Offer(checkpoint); };
  watch.on_resumed = [this](const v1::CheckpointSummary& resumed) {
    actuals_.set_resumed_from_block(resumed.block());
    Log(Severity::kInfo, "job_resumed", {{"job", assignment_.job()}, {"block", absl::StrCat(resumed.block())}});
  };
  ChildEnd end = WatchChild(*child, watch);
  actuals_.set_peak_memory_bytes(std::max(actuals_.peak_memory_bytes(), end.status.peak_memory_bytes));
  actuals_.set_disk_bytes(std::max(actuals_.disk_bytes(), FolderBytes(scratch_)));
  if (!end.refusal.empty()) {
    warning_ = absl::StrCat("the checkpoint could not be used, the job began anew: ", end.refusal);
    Log(Severity::kWarning, "checkpoint_refused", {{"job", assignment_.job()}}, end.refusal);
  }
  return end;
}

// Called many times a second while the child runs.
void JobRunner::Observe(const ChildProcess& child) {
  const TimePoint now = std::chrono::steady_clock::now();
  EnforceRunDeadline(now);
  if (absl::FromChrono(now - observed_at_) < kObserveInterval) return;
  observed_at_ = now;
  actuals_.set_disk_bytes(std::max(actuals_.disk_bytes(), FolderBytes(scratch_)));
  const int64_t memory_bytes = child.ResidentBytes();
  const std::lock_guard<std::mutex> lock(mutex_);
  memory_bytes_ = memory_bytes;
}

JobRunner::Result JobRunner::ResultOf(const ChildEnd& end, CheckpointUpload& upload) {
  if (IsStopped() && stop_reason() != StopReason::kDrainOver) return StoppedResult();
  if (end.status.signal == 0 && end.status.exit_code == 0) {
    upload.GiveUp();
    return Publish();
  }
  if (IsOwnFailure(end)) {
    v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_FAILED);
    *finished.mutable_error() = FailureOf(end);
    return finished;
  }
  if (stop_reason() == StopReason::kNone) return Crashed(end, upload);
  upload.Finish(options_.drain_grace, stop_.get_token());
  return StoppedResult();
}

// Its last checkpoint first: the next attempt begins as soon as the server knows of the crash.
JobRunner::Result JobRunner::Crashed(const ChildEnd& end, CheckpointUpload& upload) {
  upload.Finish(options_.last_upload, stop_.get_token());
  if (IsStopped()) return StoppedResult();
  v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_CRASHED);
  *finished.mutable_error() = FailureOf(end);
  if (end.status.signal == SIGKILL) ExplainKill(*finished.mutable_error());
  return finished;
}

void JobRunner::ExplainKill(v1::JobError& error) const {
  const std::optional<int64_t> kills = OutOfMemoryKills();
  if (!kills.has_value() || !kills_before_.has_value() || *kills <= *kills_before_) return;
  error.set_reason("MEMORY_EXHAUSTED");
  error.set_message(absl::StrFormat(
      "the kernel's out-of-memory killer ended the job's process (memory.events); it had %d bytes at its peak, the "
      "plan expected %d, the worker has %d: give the worker more memory",
      actuals_.peak_memory_bytes(), assignment_.estimate().peak_memory_bytes(), UsableMemoryBytes()));
}

SpawnOptions JobRunner::ChildCommand() const {
  SpawnOptions command;
  command.argv = {options_.quant_path,
                  "run",
                  "--job",
                  JobFilePath(scratch_),
                  "--model-root",
                  model_.root,
                  "--data-root",
                  options_.data_root,
                  "--out",
                  ArtifactPath(scratch_),
                  "--checkpoint",
                  CheckpointPath(scratch_),
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

JobRunner::Result JobRunner::Publish() {
  v1::JobProgress publishing = progress();
  publishing.set_phase("publish");
  publishing.clear_layer();
  publishing.clear_eta_seconds();
  SetProgress(publishing);

  const std::string folder = ArtifactPath(scratch_);
  absl::StatusOr<v1::QuantReport> report = ReadReport(services_.files, folder);
  if (!report.ok()) return Failed(report.status());
  if (!warning_.empty()) report->add_warnings(warning_);
  absl::StatusOr<v1::Artifact> artifact = DescribeArtifact(folder, stop_.get_token());
  if (IsStopped()) return StoppedResult();
  if (!artifact.ok()) return Failed(artifact.status());
  v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_SUCCEEDED);
  *finished.mutable_artifact() = *std::move(artifact);
  *finished.mutable_report() = *std::move(report);
  return finished.ByteSizeLong() > kMaxResultBytes ? Failed(TooLarge(finished)) : Uploaded(std::move(finished));
}

JobRunner::Result JobRunner::Uploaded(v1::FinishedJob finished) {
  const UploadOptions upload = {
      .job = assignment_.job(), .fence = assignment_.fence(), .folder = ArtifactPath(scratch_)};
  const absl::Status uploaded =
      UploadArtifact(services_.server, services_.files, upload, finished.artifact(), stop_.get_token());
  if (IsStopped()) return StoppedResult();
  if (IsStaleLease(uploaded)) return std::nullopt;
  if (!uploaded.ok()) return Failed(uploaded);
  *finished.mutable_actuals() = Actuals();
  return finished;
}

JobRunner::Result JobRunner::StoppedResult() const {
  switch (stop_reason()) {
    case StopReason::kCancel:
      return Finished(v1::FinishedJob::OUTCOME_CANCELLED);
    case StopReason::kRunDeadline:
      return OverDeadline();
    case StopReason::kDrain:
    case StopReason::kDrainOver:
      return Finished(v1::FinishedJob::OUTCOME_RETURNED);
    default:
      return std::nullopt;
  }
}

v1::JobActuals JobRunner::Actuals() const {
  v1::JobActuals actuals = actuals_;
  actuals.set_run_seconds(absl::ToDoubleSeconds(absl::FromChrono(std::chrono::steady_clock::now() - started_at_)));
  return actuals;
}

v1::FinishedJob JobRunner::Finished(v1::FinishedJob::Outcome outcome) const {
  v1::FinishedJob finished;
  finished.set_job(assignment_.job());
  finished.set_fence(assignment_.fence());
  finished.set_outcome(outcome);
  *finished.mutable_actuals() = Actuals();
  return finished;
}

v1::FinishedJob JobRunner::OverDeadline() const {
  v1::FinishedJob finished = Finished(v1::FinishedJob::OUTCOME_FAILED);
  v1::JobError& error = *finished.mutable_error();
  error.set_reason("RUN_DEADLINE");
  error.set_message(
      absl::StrFormat("the attempt ran longer than run_timeout_ms = %d; allow more, or choose a recipe "
                      "with less work",
                      assignment_.run_timeout_ms()));
  error.set_phase(progress().phase());
  return finished;
}

// Of what went wrong outside the child.
v1::FinishedJob JobRunner::Failed(const absl::Status& status) const {
  v1::FinishedJob finished =
      Finished(IsOwnFault(status) ? v1::FinishedJob::OUTCOME_FAILED : v1::FinishedJob::OUTCOME_CRASHED);
  v1::JobError& error = *finished.mutable_error();
  error.set_reason(ReasonOf(status).empty() ? "WORKER_ERROR" : ReasonOf(status));
  error.set_message(std::string(status.message()));
  error.set_phase(progress().phase());
  return finished;
}

}  // namespace quantd
