// quantctl delete, quantctl undelete
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/quantctl/commands.h"
#include "client/text/error_text.h"
#include "client/text/quantity.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kDeleteFooter[] =
    "Hides a job that has ended. Its rows and files go for good at the time that is printed; until then `undelete` "
    "takes\n"
    "it back. A job that has not ended must be cancelled first.\n\n"
    "Examples:\n"
    "  quantctl delete JOB\n"
    "  quantctl list --show-deleted\n";

constexpr char kUndeleteFooter[] =
    "Examples:\n"
    "  quantctl undelete JOB\n"
    "  quantctl list --show-deleted\n";

absl::StatusOr<ExitCode> Delete(Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, session.client().Delete(name));
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(job));
  } else {
    session.Print(absl::StrCat(Printable(job.name()), " is deleted; it can be undeleted until ",
                               TimeText(job.purge_time()), " UTC\n"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Undelete(Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, session.client().Undelete(name));
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(job));
  } else {
    session.Print(absl::StrCat(Printable(job.name()), " is back\n"));
  }
  return ExitCode::kOk;
}

void DefineOn(CLI::App& app, Session& session, absl::StatusOr<ExitCode> (*run)(Session&, const std::string&)) {
  const auto job = std::make_shared<std::string>();
  app.add_option("job", *job, "id or full name of the job")->required();
  app.callback([job, run, &session] { session.action = [job, run, &session] { return run(session, *job); }; });
}

}  // namespace

void DefineDelete(CLI::App& app, Session& session) {
  app.footer(kDeleteFooter);
  DefineOn(app, session, &Delete);
}

void DefineUndelete(CLI::App& app, Session& session) {
  app.footer(kUndeleteFooter);
  DefineOn(app, session, &Undelete);
}

}  // namespace quantd
