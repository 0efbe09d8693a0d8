// quantd: quantization of language models as a service.
#include <malloc.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/program.h"
#include "core/base/smooth_clock.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "server/config/settings.h"
#include "server/daemon/daemon.h"
#include "server/main/fsck_command.h"
#include "server/main/migrate_store_command.h"
#include "server/main/retention_command.h"

namespace quantd {
namespace {

struct ExitCode {
  const char* reason;
  int code;
};

constexpr int kExitOther = 1;
constexpr int kExitUsage = 2;
// docs/operations.md has the same table.
constexpr ExitCode kExitCodes[] = {
    {"OBJECT_URI_INVALID", 2},
    {"OBJECT_ENDPOINT_INVALID", 2},
    {"SETTING_INVALID", 2},
    {"SETTING_UNKNOWN", 2},
    {"ROOT_MISSING", 2},
    {"ADDRESS_INVALID", 2},
    {"TENANTS_INVALID", 2},
    {"DATA_DIRECTORY_LOCKED", 3},
    {"DATA_DIRECTORY_TOO_NEW", 3},
    {"DATA_DIRECTORY_OLD", 3},
    {"DATABASE_MISSING", 3},
    {"DATA_DIRECTORY_UNUSABLE", 3},
    {"STORE_CORRUPT", 3},
    {"DISK_FULL", 3},
    {"STORE_OF_ANOTHER_APPLICATION", 3},
    {"STORE_DSN_INVALID", 2},
    {"STORE_UNSUITABLE", 3},
    {"STORE_TOO_NEW", 3},
    {"STORE_TOO_OLD", 3},
    {"STORE_FAILED", 3},
    {"STORE_NOT_EMPTY", 3},
    {"STORE_IN_USE", 3},
    {"STORE_IN_REPAIR", 3},
    {"ARTIFACT_STORE_MISSING", 3},
    {"QUANT_MISSING", 4},
    {"ADDRESS_IN_USE", 5},
};

int ExitCodeOf(const absl::Status& status) {
  for (const ExitCode& row : kExitCodes) {
    if (ReasonOf(status) == row.reason) return row.code;
  }
  return kExitOther;
}

struct Flags {
  std::string config_file;
  bool print_config = false;
  bool check_config = false;
  std::map<std::string, std::string> settings;  // by name; empty unless given
};

void Declare(CLI::App& app, Flags& flags) {
  const ServerConfig defaults;
  for (const Setting& setting : SettingsTable()) {
    std::string& text = flags.settings[setting.name];
    const std::string help =
        absl::StrCat(setting.help, " [", SettingText(setting, defaults), "] ($", EnvironmentName(setting), ")");
    if (std::holds_alternative<bool ServerConfig::*>(setting.member)) {
      app.add_flag_function(
          FlagName(setting), [&text](int64_t count) { text = count > 0 ? "true" : "false"; }, help);
    } else {
      app.add_option(FlagName(setting), text, help)->type_name("");
    }
  }
  app.add_option("--config", flags.config_file, "JSON file of settings, names with underscores ($QUANTD_CONFIG)");
  app.add_flag("--print-config,--print_config", flags.print_config, "Print all settings with their origins, and exit");
  app.add_flag("--check-config,--check_config", flags.check_config, "Check the settings, and exit");
  app.set_version_flag("--version", QUANTD_VERSION);
  app.footer(
      "Later wins: default < configuration file < environment < flag. SIGTERM or SIGINT drains; a second one cuts the "
      "drain delay.\nExample:\n"
      "  quantd --data-dir /var/lib/quantd --model-root data/models --data-root data --local-workers 1");
}

const char* Environment(const char* name) {
  return std::getenv(name);
}

absl::StatusOr<ConfigBuilder> BuildConfig(const CLI::App& app, const Flags& flags) {
  ConfigBuilder builder;
  std::string file = flags.config_file;
  if (const char* from_environment = Environment("QUANTD_CONFIG"); file.empty() && from_environment != nullptr) {
    file = from_environment;
  }
  if (!file.empty()) RETURN_IF_ERROR(builder.ReadFile(file));
  RETURN_IF_ERROR(builder.ReadEnvironment(&Environment));
  for (const Setting& setting : SettingsTable()) {
    if (app.count(FlagName(setting)) == 0) continue;
    RETURN_IF_ERROR(builder.Set(setting, flags.settings.at(setting.name), "flag"));
  }
  return builder;
}

// Waits for a signal, at most `timeout_ms` (-1: for ever).
void WaitForSignal(int signals, int timeout_ms) {
  pollfd fd = {signals, POLLIN, 0};
  int ready;
  do {
    ready = poll(&fd, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  signalfd_siginfo info;
  if (ready > 0) (void)!read(signals, &info, sizeof info);
}

// The allocator gives threads arenas of their own, eight a core, and keeps what is freed in each: memory that no other
// thread can use, and that differs by tens of megabytes from one hour to the next. One a core is as quick.
void LimitArenas() {
  mallopt(M_ARENA_MAX, std::max(2, AvailableCores()));
}

absl::Status Serve(const ServerConfig& config) {
  LimitArenas();
  const int signals = BlockStopSignals();
  SmoothClock clock(RealClock(), &SteadyNow);
  ASSIGN_OR_RETURN(const auto daemon, Daemon::Start(config, ExecutableDirectory(), {clock, RealCommandRunner()}));
  WaitForSignal(signals, /*timeout_ms=*/-1);
  Log(Severity::kInfo, "draining", {});
  daemon->Shutdown(
      [&](absl::Duration delay) { WaitForSignal(signals, static_cast<int>(absl::ToInt64Milliseconds(delay))); });
  Log(Severity::kInfo, "stopped", {});
  return absl::OkStatus();
}

absl::Status Run(const CLI::App& app, const Flags& flags) {
  ASSIGN_OR_RETURN(const ConfigBuilder builder, BuildConfig(app, flags));
  if (flags.print_config) std::printf("%s", builder.Print().c_str());
  if (flags.print_config || flags.check_config) return absl::OkStatus();
  return Serve(builder.config());
}

absl::Status ShowRetention(const RetentionCommand& retention, const CLI::App& app, const Flags& flags) {
  ASSIGN_OR_RETURN(const ConfigBuilder builder, BuildConfig(app, flags));
  return retention.Run(builder.config());
}

absl::Status Check(const FsckCommand& fsck, const CLI::App& app, const Flags& flags, int& exit_code) {
  ASSIGN_OR_RETURN(const ConfigBuilder builder, BuildConfig(app, flags));
  ASSIGN_OR_RETURN(exit_code, fsck.Run(builder.config()));
  return absl::OkStatus();
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  CLI::App app("Serves quantization jobs: queue, workers, artifacts, metrics.");
  quantd::Flags flags;
  quantd::Declare(app, flags);
  const quantd::FsckCommand fsck(app);
  const quantd::MigrateStoreCommand migrate(app);
  const quantd::RetentionCommand retention(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : quantd::kExitUsage;
  }
  int exit_code = 0;
  const absl::Status status = fsck.chosen()        ? quantd::Check(fsck, app, flags, exit_code)
                              : migrate.chosen()   ? migrate.Run()
                              : retention.chosen() ? quantd::ShowRetention(retention, app, flags)
                                                   : quantd::Run(app, flags);
  if (status.ok()) return exit_code;
  std::fprintf(stderr, "quantd: %s: %s\n", quantd::ReasonOf(status).c_str(), std::string(status.message()).c_str());
  return quantd::ExitCodeOf(status);
}
