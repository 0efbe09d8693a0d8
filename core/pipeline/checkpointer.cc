#include "core/pipeline/checkpointer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "core/pipeline/job_inputs.h"

namespace quantd {
namespace {

constexpr double kMostWorkBetween = 0.06;         // of the job's: what a kill may cost, apart from one piece
constexpr double kCostFactor = 50;                // time between commits over the time of one: at most 2 %
constexpr double kStopSeconds = 0.5;              // a third of the grace between SIGTERM and SIGKILL
constexpr double kAssumedBytesPerSecond = 100e6;  // of a disk not measured yet

}  // namespace

Checkpointer::Checkpointer(FileSystem& files, const CheckpointOptions& options, Progress& progress)
    : options_(options), progress_(progress), folder_(files, options.folder), last_time_(absl::Now()) {}

absl::Status Checkpointer::Open(std::string inputs_json) {
  inputs_json_ = std::move(inputs_json);
  RETURN_IF_ERROR(folder_.Create());
  absl::StatusOr<std::optional<CheckpointDocument>> read = folder_.Read();
  if (!read.ok()) return Refuse(read.status());
  if (!read->has_value()) return folder_.Clear();
  saved_ = **std::move(read);
  if (saved_->inputs_json != inputs_json_) {
    return Refuse(
        InvalidInput("CHECKPOINT_MALFORMED", absl::StrFormat("%s is of another job: it differs in %s", options_.folder,
                                                             DifferentInputs(saved_->inputs_json, inputs_json_))));
  }
  generation_ = saved_->generation;
  last_work_ = saved_->work;
  progress_.Resume(saved_->work, saved_->block);
  figures_.resumed_from_block = saved_->block;
  figures_.resumed_from_fraction = progress_.state().fraction;
  if (options_.on_resume) options_.on_resume(Notice(*saved_));
  return absl::OkStatus();
}

absl::Status Checkpointer::Refuse(const absl::Status& why) {
  saved_.reset();
  shards_.clear();
  layers_.clear();
  last_work_ = 0;
  progress_.Resume(0, 0);
  figures_.resumed_from_block = -1;
  figures_.resumed_from_fraction = 0;
  figures_.refused = std::string(why.message());
  Tell(ReasonError(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_REFUSED",
                   absl::StrCat(why.message(), "; the job begins anew")));
  return folder_.Clear();
}

void Checkpointer::AddBlock(std::string shard, const std::vector<LayerRecord>& layers) {
  shards_.push_back(std::move(shard));
  layers_.insert(layers_.end(), layers.begin(), layers.end());
}

void Checkpointer::AtSafePoint(SafePoint point, absl::FunctionRef<JobState()> state) {
  if (!enabled()) return;
  if (point == SafePoint::kWithinBlock && progress_.work_done() <= last_work_) return;  // nothing to lose
  if (progress_.cancelled()) {
    const JobState last = state();
    if (IsAffordable(last)) Commit(last);
  } else if (IsDue(point)) {
    Commit(state());
  }
}

bool Checkpointer::IsDue(SafePoint point) const {
  if (point == SafePoint::kBlockEnd || options_.interval <= absl::ZeroDuration()) return true;
  if (progress_.work_done() - last_work_ >= kMostWorkBetween * progress_.total_work()) return true;
  return absl::Now() - last_time_ >= std::max(options_.interval, absl::Seconds(kCostFactor * last_seconds_));
}

bool Checkpointer::IsAffordable(const JobState& state) const {
  uint64_t bytes = 0;
  for (const StatePart& part : state.parts) bytes += folder_.BytesToWrite(part);
  const double measured = static_cast<double>(folder_.bytes_written()) / std::max(figures_.seconds, 1e-3);
  const double bytes_per_second = figures_.commits > 0 ? measured : kAssumedBytesPerSecond;
  return static_cast<double>(bytes) <= kStopSeconds * bytes_per_second;
}

void Checkpointer::Commit(const JobState& state) {
  const absl::Time start = absl::Now();
  const absl::Status status = TryCommit(state);
  last_time_ = absl::Now();
  last_seconds_ = absl::ToDoubleSeconds(last_time_ - start);
  last_work_ = progress_.work_done();
  figures_.seconds += last_seconds_;
  figures_.bytes_written = folder_.bytes_written();
  ++(status.ok() ? figures_.commits : figures_.failures);
  if (!status.ok()) Tell(WithContext(status, "the checkpoint was not written"));
}

absl::Status Checkpointer::TryCommit(const JobState& state) {
  CheckpointDocument document{.inputs_json = inputs_json_,
                              .generation = generation_ + 1,
                              .phase = state.phase,
                              .block = static_cast<int>(shards_.size()),
                              .place_json = state.place_json,
                              .work = progress_.work_done(),
                              .files = {},
                              .layers = layers_};
  document.layers.insert(document.layers.end(), state.layers.begin(), state.layers.end());
  ASSIGN_OR_RETURN(CheckpointFile self, folder_.Commit(document, {shards_, state.parts}));
  generation_ = document.generation;
  CheckpointNotice notice = Notice(document);
  notice.size_bytes += self.size_bytes;
  notice.files = std::move(document.files);
  notice.files.insert(notice.files.begin(), std::move(self));
  figures_.largest_bytes = std::max(figures_.largest_bytes, notice.size_bytes);
  if (options_.on_commit) options_.on_commit(notice);
  return absl::OkStatus();
}

CheckpointNotice Checkpointer::Notice(const CheckpointDocument& document) const {
  CheckpointNotice notice{.generation = document.generation,
                          .phase = document.phase,
                          .block = document.block,
                          .blocks = progress_.state().blocks,
                          .fraction = progress_.state().fraction,
                          .size_bytes = 0,
                          .fingerprint = FingerprintOf(document.inputs_json),
                          .files = {}};
  for (const CheckpointFile& file : document.files) notice.size_bytes += file.size_bytes;
  return notice;
}

void Checkpointer::Tell(const absl::Status& problem) const {
  if (options_.on_problem) options_.on_problem(problem);
}

absl::Status Checkpointer::Remove() {
  return enabled() ? folder_.Remove() : absl::OkStatus();
}

}  // namespace quantd
