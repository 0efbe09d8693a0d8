#include "client/text/job_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/proto_json.h"
#include "client/resource_name.h"
#include "client/text/error_text.h"
#include "client/text/figures.h"
#include "client/text/quantity.h"
#include "client/text/table.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

void AddLine(std::string& text, absl::string_view name, absl::string_view value) {
  if (!value.empty() && value != "-") absl::StrAppendFormat(&text, "  %-16s %s\n", name, Printable(value));
}

std::string ProgressText(const v1::JobProgress& progress) {
  if (progress.phase().empty()) return "";
  std::string text = absl::StrFormat("%s, %d %%", progress.phase(), static_cast<int>(100 * progress.fraction()));
  if (progress.blocks() > 0) absl::StrAppendFormat(&text, ", block %d of %d", progress.block(), progress.blocks());
  if (progress.eta_seconds() > 0) absl::StrAppend(&text, ", ETA ", DurationText(progress.eta_seconds()));
  return text;
}

std::string OneLineJson(const google::protobuf::Message& message) {
  std::string json;
  return MessageToJson(message, JsonStyle::kOneLine, &json).ok() ? json : "";
}

std::string LabelsText(const v1::QuantJobSpec& spec) {
  std::vector<std::string> labels;
  for (const auto& [name, value] : spec.labels()) labels.push_back(absl::StrCat(name, "=", value));
  std::sort(labels.begin(), labels.end());
  std::string text;
  for (const std::string& label : labels) absl::StrAppend(&text, text.empty() ? "" : ", ", label);
  return text;
}

void AddSpec(std::string& text, const v1::QuantJobSpec& spec) {
  AddLine(text, "model", spec.model());
  AddLine(text, "recipe", spec.recipe().preset());
  if (spec.recipe().overrides().fields_size() > 0) AddLine(text, "set", OneLineJson(spec.recipe().overrides()));
  for (const v1::LayerRule& rule : spec.recipe().rules()) {
    AddLine(text, "rule", absl::StrCat(rule.pattern(), " ", OneLineJson(rule.overrides())));
  }
  AddLine(text, "calibration", spec.calibration().file());
  AddLine(text, "evaluation", spec.evaluation().file());
  AddLine(text, "labels", LabelsText(spec));
}

void AddLimits(std::string& text, const v1::QuantJobSpec& spec) {
  if (spec.priority() != 0) AddLine(text, "priority", absl::StrCat(spec.priority()));
  if (spec.max_attempts() != 0) AddLine(text, "max attempts", absl::StrCat(spec.max_attempts()));
}

std::string Later(google::protobuf::Timestamp time, int64_t milliseconds) {
  if (time.seconds() == 0 || milliseconds == 0) return "-";
  time.set_seconds(time.seconds() + milliseconds / 1000);
  return TimeText(time);
}

void AddDeadlines(std::string& text, const v1::QuantJob& job) {
  if (job.state() == v1::QuantJob::QUEUED) {
    AddLine(text, "queue deadline", Later(job.create_time(), job.spec().queue_timeout_ms()));
  }
  if (job.state() == v1::QuantJob::RUNNING) {
    AddLine(text, "run deadline", Later(job.start_time(), job.spec().run_timeout_ms()));
  }
  AddLine(text, "deleted", TimeText(job.delete_time()));
  AddLine(text, "removed after", TimeText(job.purge_time()));
}

void AddCheckpoint(std::string& text, const v1::QuantJob& job) {
  if (!job.has_checkpoint()) return;
  const v1::CheckpointSummary& checkpoint = job.checkpoint();
  AddLine(text, "checkpoint",
          absl::StrFormat("%s, block %d of %d, attempt %d, %s, %s", checkpoint.phase(), checkpoint.block(),
                          checkpoint.blocks(), checkpoint.attempt(), BytesText(checkpoint.size_bytes()),
                          TimeText(checkpoint.commit_time())));
}

void AddLastFailure(std::string& text, const v1::QuantJob& job) {
  if (!job.has_last_failure()) return;
  const v1::JobError& failure = job.last_failure();
  std::string how;
  if (failure.signal() != 0) absl::StrAppend(&how, ", signal ", failure.signal());
  if (failure.exit_code() != 0) absl::StrAppend(&how, ", exit code ", failure.exit_code());
  if (!failure.phase().empty()) absl::StrAppend(&how, ", in ", failure.phase());
  AddLine(text, "last failure", absl::StrCat(failure.reason(), how, ": ", failure.message()));
}

std::string Expected(int64_t bytes) {
  return bytes > 0 ? absl::StrCat(" (expected ", BytesText(bytes), ")") : "";
}

// Before the first attempt has ended the plan's figures alone; afterwards what it took, beside them.
void AddEffort(std::string& text, const v1::QuantJob& job) {
  const v1::JobEstimate& estimate = job.estimate();
  if (!job.has_actuals()) {
    if (estimate.peak_memory_bytes() > 0) AddLine(text, "memory, planned", BytesText(estimate.peak_memory_bytes()));
    if (estimate.disk_bytes() > 0) AddLine(text, "disk, planned", BytesText(estimate.disk_bytes()));
    if (estimate.run_seconds() > 0) AddLine(text, "time, expected", DurationText(estimate.run_seconds()));
    return;
  }
  const v1::JobActuals& actuals = job.actuals();
  const bool expected = estimate.run_seconds() > 0;
  AddLine(text, "ran for",
          absl::StrCat(DurationText(actuals.run_seconds()), expected ? " (expected " : "",
                       expected ? DurationText(estimate.run_seconds()) : "", expected ? ")" : ""));
  AddLine(text, "memory", BytesText(actuals.peak_memory_bytes()) + Expected(estimate.peak_memory_bytes()));
  AddLine(text, "disk", BytesText(actuals.disk_bytes()) + Expected(estimate.disk_bytes()));
  if (actuals.resumed_from_block() > 0)
    AddLine(text, "resumed from", absl::StrCat("block ", actuals.resumed_from_block()));
}

// What a person should know of the job at a glance.
std::string Notes(const v1::QuantJob& job) {
  std::vector<std::string> notes(job.conditions().begin(), job.conditions().end());
  if (job.has_delete_time()) notes.push_back(absl::StrCat("deleted, removed after ", TimeText(job.purge_time())));
  if (job.artifact().expired()) notes.push_back("artifact expired");
  return absl::StrJoin(notes, "; ");
}

std::string TenantOf(const v1::QuantJob& job) {
  const std::optional<JobNameParts> parts = SplitJobName(job.name());
  return parts.has_value() ? parts->tenant : "";
}

std::string ShortProgress(const v1::QuantJob& job) {
  if (IsTerminal(job.state()) || job.progress().phase().empty()) return "";
  return absl::StrFormat("%s %d %%", job.progress().phase(), static_cast<int>(100 * job.progress().fraction()));
}

}  // namespace

std::string JobText(const v1::QuantJob& job) {
  std::string text = absl::StrCat(Printable(job.name()), "\n");
  AddLine(text, "state", StateName(job.state()));
  if (!IsTerminal(job.state())) AddLine(text, "progress", ProgressText(job.progress()));
  for (const std::string& condition : job.conditions()) AddLine(text, "note", condition);
  AddSpec(text, job.spec());
  AddLimits(text, job.spec());
  AddLine(text, "created", TimeText(job.create_time()));
  AddLine(text, "started", TimeText(job.start_time()));
  AddLine(text, "ended", TimeText(job.end_time()));
  AddLine(text, "worker", job.worker());
  if (job.attempt() > 0) AddLine(text, "attempt", absl::StrCat(job.attempt()));
  AddDeadlines(text, job);
  AddCheckpoint(text, job);
  AddLastFailure(text, job);
  AddEffort(text, job);
  return absl::StrCat(text, ArtifactText(job), FailureText(job));
}

std::string JobTable(const std::vector<v1::QuantJob>& jobs) {
  Table table({"JOB", "TENANT", "STATE", "PRIORITY", "RECIPE", "MODEL", "PROGRESS", "CREATED (UTC)", "NOTES"});
  for (const v1::QuantJob& job : jobs) {
    table.Add({JobId(job.name()), TenantOf(job), StateName(job.state()), absl::StrCat(job.spec().priority()),
               job.spec().recipe().preset(), job.spec().model(), ShortProgress(job), TimeText(job.create_time()),
               Notes(job)});
  }
  return table.Text();
}

}  // namespace quantd
