#include "client/text/job_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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
  AddLine(text, "created", TimeText(job.create_time()));
  AddLine(text, "started", TimeText(job.start_time()));
  AddLine(text, "ended", TimeText(job.end_time()));
  AddLine(text, "worker", job.worker());
  if (job.attempt() > 0) AddLine(text, "attempt", absl::StrCat(job.attempt()));
  return absl::StrCat(text, ArtifactText(job), FailureText(job));
}

std::string JobTable(const std::vector<v1::QuantJob>& jobs) {
  Table table({"JOB", "STATE", "RECIPE", "MODEL", "PROGRESS", "CREATED (UTC)"});
  for (const v1::QuantJob& job : jobs) {
    table.Add({JobId(job.name()), StateName(job.state()), job.spec().recipe().preset(), job.spec().model(),
               ShortProgress(job), TimeText(job.create_time())});
  }
  return table.Text();
}

}  // namespace quantd
