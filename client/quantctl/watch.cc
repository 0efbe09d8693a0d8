// quantctl watch
#include <CLI/CLI.hpp>
#include <memory>

#include "client/quantctl/commands.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kFooter[] =
    "Ctrl-C ends the watching, not the job. When the server goes away for a while, the watch goes on where it was.\n\n"
    "Examples:\n"
    "  quantctl watch JOB\n"
    "  quantctl watch JOB --json 2>/dev/null | jq .report.evaluation.perplexity_quantized\n";

absl::StatusOr<ExitCode> Watch(Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::QuantJob job, WaitWithProgress(session, name));
  return PrintOutcome(session, job);
}

}  // namespace

void DefineWatch(CLI::App& app, Session& session) {
  const auto job = std::make_shared<std::string>();
  app.add_option("job", *job, "id or full name of the job")->required();
  app.footer(kFooter);
  app.callback([job, &session] { session.action = [job, &session] { return Watch(session, *job); }; });
}

}  // namespace quantd
