#include "server/retention/retention_settings.h"

namespace quantd {

RetentionOptions RetentionOptionsOf(const ServerConfig& config) {
  RetentionOptions options;
  options.retain_jobs = absl::Milliseconds(config.retain_jobs_ms);
  options.retain_jobs_per_tenant = config.retain_jobs_per_tenant;
  options.undelete_window = absl::Milliseconds(config.undelete_window_ms);
  options.retain_events = absl::Milliseconds(config.retain_events_ms);
  options.retain_audit = absl::Milliseconds(config.retain_audit_ms);
  options.orphan_age = absl::Milliseconds(config.orphan_age_ms);
  return options;
}

}  // namespace quantd
