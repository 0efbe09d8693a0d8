#include "server/main/fsck_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "server/fsck/fsck.h"

namespace quantd {
namespace {

std::string Footer() {
  std::string text = "Finds, and with --repair:\n";
  for (const FsckKind& kind : FsckKinds()) {
    const std::string repair = *kind.repair == 0 ? "" : absl::StrCat(" [", kind.repair, "]");
    absl::StrAppend(&text, "  ", kind.name, ": ", kind.meaning, repair, kind.is_damage ? "" : " (no problem)", "\n");
  }
  return absl::StrCat(
      text,
      "It looks where the settings of the servers say, given in the same ways: --data-dir, --store-dsn, "
      "--artifact-store, --s3-endpoint, --config and so on.\n"
      "Exit codes: 0 sound, 1 problems, 2 usage, 3 the database is in use or not this version's.\n"
      "Example:\n"
      "  quantd fsck --store-dsn-file /etc/quantd/dsn --artifact-store s3://quantd-artifacts/prod");
}

// A line that is written over, for people only.
void ShowProgress(int64_t done, int64_t total) {
  const int64_t percent = total > 0 ? 100 * (done / 1024) / std::max<int64_t>(1, total / 1024) : 100;
  std::fprintf(stderr, "\r%3d %% of %lld MiB%s", static_cast<int>(std::min<int64_t>(percent, 100)),
               static_cast<long long>(total >> 20), done == total ? "\n" : "");
}

}  // namespace

FsckCommand::FsckCommand(CLI::App& app)
    : command_(app.add_subcommand("fsck", "Check database, files and digests; with SQLite of a stopped quantd")) {
  command_->fallthrough();
  command_->add_flag("--json", json_, "Print one JSON object");
  command_->add_flag("--quick", quick_, "Presence and size of the files only: read none of them");
  command_->add_flag("--repair", repair_,
                     "Remove leftovers, quarantine damaged files, count anew; all servers must be stopped");
  command_->footer(Footer());
}

bool FsckCommand::chosen() const {
  return command_->parsed();
}

absl::StatusOr<int> FsckCommand::Run(const ServerConfig& config) const {
  FsckOptions options;
  options.repair = repair_;
  options.digests = !quick_;
  options.threads = AvailableCores();
  if (isatty(STDERR_FILENO) == 1) options.progress = &ShowProgress;
  ASSIGN_OR_RETURN(const FsckReport report, RunFsck(config, options));
  std::printf("%s", (json_ ? FsckJson(report) : FsckText(report)).c_str());
  return report.damage() == 0 ? 0 : 1;
}

}  // namespace quantd
