#include "server/retention/dry_run.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "server/daemon/object_stores.h"
#include "server/retention/retention_settings.h"
#include "server/store/postgres_dsn.h"
#include "server/store/sql_job_store.h"
#include "server/store/visit_database.h"

namespace quantd {
namespace {

// A server collects uploads in its data directory on their way to an object store; a visitor has none, and no uploads.
class EmptyFolder {
 public:
  static absl::StatusOr<std::unique_ptr<EmptyFolder>> Make() {
    std::error_code error;
    std::string path = (std::filesystem::temp_directory_path(error) / "quantd-XXXXXX").string();
    if (!error && mkdtemp(path.data()) != nullptr) return std::unique_ptr<EmptyFolder>(new EmptyFolder(path));
    return ReasonError(absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_UNUSABLE",
                       absl::StrFormat("%s: no folder can be made there; set TMPDIR", path));
  }
  ~EmptyFolder() { (void)RealFileSystem().RemoveAll(path_); }
  const std::string& path() const { return path_; }

 private:
  explicit EmptyFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// Opening would make it.
absl::Status CheckStoreFolder(const std::string& artifact_store) {
  if (!absl::StartsWith(artifact_store, "/") || RealFileSystem().IsDirectory(artifact_store)) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_STORE_MISSING",
                     absl::StrFormat("--artifact-store %s: no such folder", artifact_store));
}

}  // namespace

absl::StatusOr<RetentionPlan> DryRunRetention(const ServerConfig& config, int limit) {
  ASSIGN_OR_RETURN(const std::string dsn, ReadStoreDsn(config.store_dsn, config.store_dsn_file));
  ASSIGN_OR_RETURN(auto database, VisitDatabase({.data_directory = config.data_dir, .dsn = dsn, .clock = RealClock()}));
  const std::unique_ptr<JobStore> store = NewSqlJobStore(std::move(database));
  RETURN_IF_ERROR(CheckStoreFolder(config.artifact_store));
  ASSIGN_OR_RETURN(const std::unique_ptr<S3Client> client, OpenObjectStore(config));
  ASSIGN_OR_RETURN(const std::unique_ptr<EmptyFolder> folder, EmptyFolder::Make());
  ServerConfig visitor = config;
  if (!config.artifact_store.empty()) visitor.data_dir = folder->path();
  ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactStore> artifacts, OpenArtifacts(visitor, client.get()));
  return Retention(RetentionOptionsOf(config), {*store, *artifacts}).DryRun(limit);
}

}  // namespace quantd
