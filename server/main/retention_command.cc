#include "server/main/retention_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "core/base/status.h"
#include "server/retention/dry_run.h"

namespace quantd {

RetentionCommand::RetentionCommand(CLI::App& app)
    : command_(app.add_subcommand("retention", "Show what the next pass of retention would forget")) {
  command_->fallthrough();
  command_->add_flag("--dry-run", dry_run_, "Show it; the servers do it")->required();
  command_->add_flag("--json", json_, "Print one JSON object");
  command_->add_option("--limit", limit_, "Jobs and files to show of each kind")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command_->footer(
      "Changes nothing, also beside servers that run. Settings are given as to the servers; with other ones it shows "
      "what "
      "those would do:\n"
      "  quantd retention --dry-run --data-dir /var/lib/quantd --retain-jobs-ms 604800000");
}

bool RetentionCommand::chosen() const {
  return command_->parsed();
}

absl::Status RetentionCommand::Run(const ServerConfig& config) const {
  ASSIGN_OR_RETURN(const RetentionPlan plan, DryRunRetention(config, limit_));
  std::printf("%s", (json_ ? RetentionPlanJson(plan) : RetentionPlanText(plan, limit_)).c_str());
  return absl::OkStatus();
}

}  // namespace quantd
