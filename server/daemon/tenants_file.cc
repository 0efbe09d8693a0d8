#include "server/daemon/tenants_file.h"

#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/status.h"

namespace quantd {

absl::StatusOr<std::optional<TenantTable>> TenantsFile::Changed() {
  if (path_.empty()) return std::nullopt;
  auto text = RealFileSystem().ReadFile(path_, kMaxJsonBytes);
  const std::string now = text.ok() ? *text : text.status().ToString();
  if (seen_ == now) return std::nullopt;
  seen_ = now;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(TenantTable table, TenantTable::Parse(*text, path_));
  return table;
}

}  // namespace quantd
