// quantctl cancel
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/quantctl/commands.h"
#include "client/text/error_text.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

constexpr char kFooter[] =
    "A queued job is CANCELLED at once; a running one becomes CANCELLING and is CANCELLED when its process has ended.\n"
    "A job that has ended already stays as it is; that is no error.\n\n"
    "Examples:\n"
    "  quantctl cancel JOB\n"
    "  quantctl cancel JOB && quantctl watch JOB    # exit code 6 once it is CANCELLED\n";

absl::StatusOr<ExitCode> Cancel(Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, session.client().Cancel(name));
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(job));
  } else {
    session.Print(absl::StrCat(Printable(job.name()), " is ", StateName(job.state()), "\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

void DefineCancel(CLI::App& app, Session& session) {
  const auto job = std::make_shared<std::string>();
  app.add_option("job", *job, "id or full name of the job")->required();
  app.footer(kFooter);
  app.callback([job, &session] { session.action = [job, &session] { return Cancel(session, *job); }; });
}

}  // namespace quantd
