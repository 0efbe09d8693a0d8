// quantctl download
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/quantctl/commands.h"
#include "client/text/quantity.h"
#include "core/base/clock.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct DownloadArguments {
  std::string job;
  std::string directory;
};

constexpr char kFooter[] =
    "Run the same command again to go on after an interruption: parts are kept as NAME.part, and files that are there\n"
    "with the right digest are not fetched again. A folder with a manifest.json is complete.\n\n"
    "Examples:\n"
    "  quantctl download JOB --out artifact\n"
    "  quantctl download JOB --out artifact --json | jq -r .digest\n";

absl::StatusOr<ExitCode> Download(Session& session, const DownloadArguments& arguments) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, session.client().Get(arguments.job));
  {
    ProgressView view(std::cerr, RealClock(), session.progress_style());
    const auto show = [&view](const DownloadProgress& now) {
      view.ShowBytes(now.path, now.done_bytes, now.total_bytes);
    };
    RETURN_IF_ERROR(session.client().Download(job, {.directory = arguments.directory, .on_progress = show}));
  }
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(job.artifact()));
  } else {
    session.Print(absl::StrCat(arguments.directory, ": ", job.artifact().files_size(), " files, ",
                               BytesText(job.artifact().size_bytes()), ", every digest right\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

void DefineDownload(CLI::App& app, Session& session) {
  const auto arguments = std::make_shared<DownloadArguments>();
  app.add_option("job", arguments->job, "id or full name of the job")->required();
  app.add_option("--out", arguments->directory, "folder for the files; created when absent")
      ->type_name("DIR")
      ->required();
  app.footer(kFooter);
  app.callback(
      [arguments, &session] { session.action = [arguments, &session] { return Download(session, *arguments); }; });
}

}  // namespace quantd
