#include "server/daemon/object_stores.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/artifacts/s3_artifact_store.h"

namespace quantd {
namespace {

std::string CacheFolder(const ServerConfig& config) {
  return config.model_cache_dir.empty() ? JoinPath(config.data_dir, "model-cache") : config.model_cache_dir;
}

// Of the artifact_store: one that several servers see.
bool IsFolder(const std::string& place) {
  return absl::StartsWith(place, "/");
}

S3Options OptionsOf(const ServerConfig& config) {
  S3Options options;
  options.endpoint = config.s3_endpoint;
  options.region = config.s3_region;
  options.path_style = config.s3_path_style;
  options.credentials_file = config.s3_credentials_file;
  options.transport.ca_file = config.s3_ca_file;
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<S3Client>> OpenObjectStore(const ServerConfig& config) {
  const bool needed = !config.artifact_store.empty() && !IsFolder(config.artifact_store);
  if (!needed && config.model_store_prefixes.empty()) return nullptr;
  return S3Client::Create(OptionsOf(config));
}

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenArtifacts(const ServerConfig& config, S3Client* client) {
  if (config.artifact_store.empty()) return OpenDirectoryArtifactStore(RealFileSystem(), config.data_dir);
  if (IsFolder(config.artifact_store)) {
    RETURN_IF_ERROR(RealFileSystem().CreateDirectories(config.artifact_store));
    return OpenDirectoryArtifactStore(RealFileSystem(), config.artifact_store);
  }
  const auto root = ParseS3Uri(config.artifact_store);
  RETURN_IF_ERROR(WithContext(root.status(), "artifact_store"));
  return OpenS3ArtifactStore(RealFileSystem(), config.data_dir, *client, {.root = *root});
}

absl::StatusOr<std::unique_ptr<ModelCache>> OpenModelCache(const ServerConfig& config, S3Client* client) {
  if (config.model_store_prefixes.empty()) return nullptr;
  auto prefixes = ParseModelPrefixes(config.model_store_prefixes);
  RETURN_IF_ERROR(WithContext(prefixes.status(), "model_store_prefixes"));
  return ModelCache::Open(
      {.directory = CacheFolder(config), .max_bytes = config.model_cache_bytes, .prefixes = *std::move(prefixes)},
      *client);
}

std::vector<std::string> ModelFlags(const ServerConfig& config) {
  if (config.model_store_prefixes.empty()) return {};
  std::vector<std::string> flags = {"--model-store-prefixes",
                                    config.model_store_prefixes,
                                    "--model-cache-dir",
                                    CacheFolder(config),
                                    "--model-cache-bytes",
                                    absl::StrCat(config.model_cache_bytes),
                                    "--s3-region",
                                    config.s3_region};
  const auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) flags.insert(flags.end(), {flag, value});
  };
  add("--s3-endpoint", config.s3_endpoint);
  add("--s3-ca-file", config.s3_ca_file);
  add("--s3-credentials-file", config.s3_credentials_file);
  if (config.s3_path_style) flags.push_back("--s3-path-style");
  return flags;
}

}  // namespace quantd
