// The running service: all parts put together, started and ended in order.
#ifndef QUANTD_SERVER_DAEMON_DAEMON_H_
#define QUANTD_SERVER_DAEMON_DAEMON_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/config/settings.h"
#include "server/process/process.h"

namespace quantd {

struct DaemonServices {
  Clock& clock;
  CommandRunner& runner;
};

class Daemon {
 public:
  // Starts everything; when it returns OK the service answers and the port file is written. `executable_dir`: where
  // `quant` and `quant-worker` are looked for. Reasons: DATA_DIRECTORY_LOCKED, DATA_DIRECTORY_TOO_NEW,
  // DATA_DIRECTORY_UNUSABLE, ROOT_MISSING, QUANT_MISSING, ADDRESS_IN_USE, ADDRESS_INVALID, STORE_CORRUPT.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const ServerConfig& config, const std::string& executable_dir,
                                                       DaemonServices services);
  virtual ~Daemon() = default;

  virtual std::string grpc_address() const = 0;
  virtual std::string http_address() const = 0;

  // Ends in order: not ready any more, but serving, while `wait` (given drain_delay) lasts; then no new work, watchers
  // and workers told, local workers ended, calls finished within drain_limit.
  virtual void Shutdown(const std::function<void(absl::Duration)>& wait) = 0;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_DAEMON_H_
