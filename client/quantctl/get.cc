// quantctl get
#include <CLI/CLI.hpp>
#include <memory>

#include "client/quantctl/commands.h"
#include "client/text/job_text.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kFooter[] =
    "Examples:\n"
    "  quantctl get JOB\n"
    "  quantctl get JOB --json | jq -r .state\n";

absl::StatusOr<ExitCode> Get(Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, session.client().Get(name));
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(job));
  } else {
    session.Print(JobText(job));
  }
  return ExitCode::kOk;
}

}  // namespace

void DefineGet(CLI::App& app, Session& session) {
  const auto job = std::make_shared<std::string>();
  app.add_option("job", *job, "id or full name of the job")->required();
  app.footer(kFooter);
  app.callback([job, &session] { session.action = [job, &session] { return Get(session, *job); }; });
}

}  // namespace quantd
