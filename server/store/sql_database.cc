#include "server/store/sql_database.h"

#include "core/base/status.h"

namespace quantd {

absl::Status SqlStatement::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

}  // namespace quantd
