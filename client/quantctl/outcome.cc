// Waiting for a job, and what is printed at its end.
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/proto_json.h"
#include "client/quantctl/session.h"
#include "client/text/error_text.h"
#include "client/text/figures.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

absl::Status PrintOutcomeJson(const Session& session, const v1::QuantJob& job, const v1::QuantReport* report) {
  std::string job_json;
  RETURN_IF_ERROR(MessageToJson(job, JsonStyle::kOneLine, &job_json));
  std::string report_json = "null";
  if (report != nullptr) RETURN_IF_ERROR(MessageToJson(*report, JsonStyle::kOneLine, &report_json));
  session.Print(absl::StrCat(R"({"job": )", job_json, R"(, "report": )", report_json, "}\n"));
  return absl::OkStatus();
}

std::string Headline(const v1::QuantJob& job) {
  return absl::StrCat(StateName(job.state()), "  ", Printable(job.spec().model()), "  ",
                      Printable(job.spec().recipe().preset()), "  ", Printable(job.name()), "\n");
}

}  // namespace

absl::StatusOr<v1::QuantJob> WaitWithProgress(Session& session, const std::string& job) {
  ProgressView view(std::cerr, RealClock(), session.progress_style());

  return session.client().Watch(job, {}, [&view](const v1::QuantJob& now) { view.Show(now); });
}

absl::StatusOr<ExitCode> PrintOutcome(Session& session, const v1::QuantJob& job) {
  v1::QuantReport report;
  const bool has_report = HasResult(job.state());
  if (has_report) {
    ASSIGN_OR_RETURN(report, session.client().Report(job.name()));
  }
  if (session.json) {
    RETURN_IF_ERROR(PrintOutcomeJson(session, job, has_report ? &report : nullptr));
  } else {
    session.Print(absl::StrCat(Headline(job), has_report ? FiguresText(report) : "", ArtifactText(job)));
    session.Note(FailureText(job));
  }
  return ExitCodeOf(job.state());
}

}  // namespace quantd
