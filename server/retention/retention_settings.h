// The part of the daemon's settings that says what is forgotten when.
#ifndef QUANTD_SERVER_RETENTION_RETENTION_SETTINGS_H_
#define QUANTD_SERVER_RETENTION_RETENTION_SETTINGS_H_

#include "server/config/settings.h"
#include "server/retention/retention.h"

namespace quantd {

RetentionOptions RetentionOptionsOf(const ServerConfig& config);

}  // namespace quantd

#endif  // QUANTD_SERVER_RETENTION_RETENTION_SETTINGS_H_
