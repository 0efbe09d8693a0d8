// The file of setting tenants_file, followed while the daemon runs: an operator edits it, and the new weights and
// limits hold from the next sweep on.
#ifndef QUANTD_SERVER_DAEMON_TENANTS_FILE_H_
#define QUANTD_SERVER_DAEMON_TENANTS_FILE_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/config/tenants.h"

namespace quantd {

// Used by one thread at a time.
class TenantsFile {
 public:
  // An empty path: there is none.
  explicit TenantsFile(std::string path) : path_(std::move(path)) {}

  // What the file says when it says something else than at the last call; nothing while it is as it was. An error once
  // a change: what held before goes on.
  absl::StatusOr<std::optional<TenantTable>> Changed();

 private:
  const std::string path_;
  std::optional<std::string> seen_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_TENANTS_FILE_H_
