// What the settings say about object stores, made real.
#ifndef QUANTD_SERVER_DAEMON_OBJECT_STORES_H_
#define QUANTD_SERVER_DAEMON_OBJECT_STORES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/objects/model_cache.h"
#include "core/objects/s3_client.h"
#include "server/artifacts/artifact_store.h"
#include "server/config/settings.h"

namespace quantd {

// Null when no setting names an object store. Reasons: OBJECT_ENDPOINT_INVALID, OBJECT_CREDENTIALS_MISSING.
absl::StatusOr<std::unique_ptr<S3Client>> OpenObjectStore(const ServerConfig& config);

// In the data directory, or where `artifact_store` says. `client` is not null when it says so.
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenArtifacts(const ServerConfig& config, S3Client* client);

// Null when no prefix is allowed.
absl::StatusOr<std::unique_ptr<ModelCache>> OpenModelCache(const ServerConfig& config, S3Client* client);

// For local workers: they use the same cache.
std::vector<std::string> ModelFlags(const ServerConfig& config);

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_OBJECT_STORES_H_
