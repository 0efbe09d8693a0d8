// `quantd fsck`: checks what a service keeps, where its settings say.
#ifndef QUANTD_SERVER_MAIN_FSCK_COMMAND_H_
#define QUANTD_SERVER_MAIN_FSCK_COMMAND_H_

#include "absl/status/statusor.h"
#include "server/config/settings.h"

namespace CLI {
class App;
}

namespace quantd {

class FsckCommand {
 public:
  // Adds itself to the program's commands.
  explicit FsckCommand(CLI::App& app);

  bool chosen() const;
  // Prints what was found. The exit code: 0 sound, 1 problems.
  absl::StatusOr<int> Run(const ServerConfig& config) const;

 private:
  CLI::App* command_;
  bool json_ = false;
  bool repair_ = false;
  bool quick_ = false;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_MAIN_FSCK_COMMAND_H_
