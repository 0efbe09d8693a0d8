// `quantd retention --dry-run`: what the servers' next pass would forget, with the settings that are given.
#ifndef QUANTD_SERVER_MAIN_RETENTION_COMMAND_H_
#define QUANTD_SERVER_MAIN_RETENTION_COMMAND_H_

#include "absl/status/status.h"
#include "server/config/settings.h"

namespace CLI {
class App;
}

namespace quantd {

class RetentionCommand {
 public:
  // Adds itself to the program's commands.
  explicit RetentionCommand(CLI::App& app);

  bool chosen() const;
  // Prints it. Changes nothing, and may run beside servers. Reasons: those of VisitDatabase; ARTIFACT_STORE_MISSING; of
  // an object store that does not answer.
  absl::Status Run(const ServerConfig& config) const;

 private:
  CLI::App* command_;
  bool dry_run_ = false;
  bool json_ = false;
  int limit_ = 100;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_MAIN_RETENTION_COMMAND_H_
