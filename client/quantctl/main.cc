// quantctl: the remote client of quantd.
#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "client/quantctl/commands.h"
#include "client/text/error_text.h"
#include "client/text/exit_code.h"
#include "core/base/program.h"

namespace quantd {
namespace {

constexpr Command kCommands[] = {
    {"submit", "queue a job; with --wait, follow it to the end", &DefineSubmit},
    {"watch", "follow a job to its end, then print its figures", &DefineWatch},
    {"get", "show one job", &DefineGet},
    {"list", "list jobs, newest first", &DefineList},
    {"cancel", "cancel a job", &DefineCancel},
    {"report", "print what a finished job lost and gained", &DefineReport},
    {"download", "fetch the artifact of a finished job", &DefineDownload},
    {"delete", "hide a finished job; it is removed later", &DefineDelete},
    {"undelete", "take a deleted job back", &DefineUndelete},
    {"audit", "show who changed what and when", &DefineAudit},
    {"recipes", "list recipes and their parameters", &DefineRecipes},
    {"completion", "print a completion script for a shell", &DefineCompletion},
};

constexpr char kExamples[] =
    "Examples:\n"
    "  quantctl submit --model quantd-tiny-llama --recipe gptq --calibration books/calibration.txt \\\n"
    "      --evaluation books/heldout.txt --wait\n"
    "  quantctl list --state RUNNING\n"
    "  quantctl download JOB --out artifact\n"
    "  export QUANTD_SERVER=quant.example.org:7433   # instead of --server each time\n\n";

void DefineGlobals(CLI::App& app, Session& session) {
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("quantctl ") + QUANTD_VERSION);
  app.fallthrough();  // global options may follow the subcommand
  app.add_option("--server", session.server,
                 "address of quantd, HOST:PORT; several servers of one queue are separated by commas")
      ->envname("QUANTD_SERVER")
      ->capture_default_str();
  app.add_option("--tenant", session.tenant, "whose jobs are submitted, listed and meant by an id alone")
      ->envname("QUANTD_TENANT")
      ->type_name("ID")
      ->capture_default_str();
  app.add_option("--timeout", session.timeout_seconds,
                 "seconds to wait for the answer to one call; a job that is waited for may take longer")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
  app.add_flag("--json", session.json, "print results as JSON on stdout, errors as JSON on stderr");
  app.footer(std::string(kExamples) + ExitCodeHelp());
}

void DefineCommands(CLI::App& app, Session& session) {
  for (const Command& command : kCommands) {
    CLI::App* const sub = app.add_subcommand(command.name, command.summary);
    command.define(*sub, session);
    sub->fallthrough();
  }
}

int Fail(const Session& session, const absl::Status& status) {
  std::cerr << (session.json ? ErrorJson(status) : ErrorText("quantctl " + session.command, status)) << std::flush;
  return static_cast<int>(ExitCodeOf(status));
}

int Run(int argc, char** argv) {
  Session session;
  CLI::App app("quantctl talks to quantd, which makes language models smaller and says what that cost.", "quantctl");
  DefineGlobals(app, session);
  DefineCommands(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = app.exit(error) == 0;  // prints help, version or what is wrong
    return static_cast<int>(is_help ? ExitCode::kOk : ExitCode::kUsage);
  }
  session.command = app.get_subcommands().front()->get_name();
  const absl::StatusOr<ExitCode> code = session.action();
  return code.ok() ? static_cast<int>(*code) : Fail(session, code.status());
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  quantd::NoticeServersSoon();
  std::signal(SIGPIPE, SIG_DFL);  // `quantctl list | head` ends quietly
  return quantd::Run(argc, argv);
}
