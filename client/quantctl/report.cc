// quantctl report
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/quantctl/commands.h"
#include "client/text/figures.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct ReportOptions {
  std::string job;
  std::string html;
  int layers = 20;
};

constexpr char kFooter[] =
    "Figures after +- are standard errors; docs/evaluation.md says how each is measured.\n\n"
    "Examples:\n"
    "  quantctl report JOB\n"
    "  quantctl report JOB --html report.html\n"
    "  quantctl report JOB --json | jq .evaluation.kl_mean\n";

absl::Status FetchHtml(Session& session, const ReportOptions& options) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, session.client().Get(options.job));
  RETURN_IF_ERROR(session.client().DownloadFile(job, "report.html", options.html));
  session.Note(absl::StrCat("wrote ", options.html, "\n"));
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Report(Session& session, const ReportOptions& options) {
  ASSIGN_OR_RETURN(const v1::QuantReport report, session.client().Report(options.job));
  if (!options.html.empty()) RETURN_IF_ERROR(FetchHtml(session, options));
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(report));
  } else {
    session.Print(absl::StrCat(FiguresText(report), LayersText(report, options.layers)));
  }
  return ExitCode::kOk;
}

}  // namespace

void DefineReport(CLI::App& app, Session& session) {
  const auto options = std::make_shared<ReportOptions>();
  app.add_option("job", options->job, "id or full name of the job")->required();
  app.add_option("--html", options->html, "also fetch the page with plots into this file")->type_name("FILE");
  app.add_option("--layers", options->layers, "layers to print, the largest errors first")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.footer(kFooter);
  app.callback([options, &session] { session.action = [options, &session] { return Report(session, *options); }; });
}

}  // namespace quantd
