// The plan of retention for a service that is only looked at, by its settings.
#ifndef QUANTD_SERVER_RETENTION_DRY_RUN_H_
#define QUANTD_SERVER_RETENTION_DRY_RUN_H_

#include "absl/status/statusor.h"
#include "server/config/settings.h"
#include "server/retention/retention.h"

namespace quantd {

// What Retention::DryRun says with the settings of `config`; servers may be at work. Nothing is made or changed.
// NOT_FOUND ARTIFACT_STORE_MISSING when artifact_store is a folder that is not there; the reasons of VisitDatabase and
// OpenObjectStore, and of an object store that does not answer.
absl::StatusOr<RetentionPlan> DryRunRetention(const ServerConfig& config, int limit);

}  // namespace quantd

#endif  // QUANTD_SERVER_RETENTION_DRY_RUN_H_
