// `quantd fsck`: checks a data directory that no server is using.
#ifndef QUANTD_SERVER_MAIN_FSCK_COMMAND_H_
#define QUANTD_SERVER_MAIN_FSCK_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"

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
  absl::StatusOr<int> Run() const;

 private:
  CLI::App* command_;
  std::string data_directory_;
  bool json_ = false;
  bool repair_ = false;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_MAIN_FSCK_COMMAND_H_
