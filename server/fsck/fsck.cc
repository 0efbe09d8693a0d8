#include "server/fsck/fsck.h"

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "server/daemon/object_stores.h"
#include "server/fsck/checked_database.h"
#include "server/fsck/checked_files.h"
#include "server/fsck/database_check.h"
#include "server/fsck/file_check.h"
#include "server/retention/retention.h"
#include "server/store/postgres_dsn.h"

namespace quantd {
namespace {

constexpr char kServersRunning[] =
    "servers are at work: what no job names may be on its way; published files younger than 10 minutes, checkpoints "
    "and "
    "uploads were left out";
constexpr char kNoDigests[] = "presence and size of the files only: no digest was computed";
constexpr char kPostgresFiles[] = "the files of PostgreSQL itself were not looked at: pg_amcheck does that";

absl::StatusOr<std::unique_ptr<CheckedFiles>> OpenFiles(const ServerConfig& config, S3Client* client) {
  if (config.artifact_store.empty()) return CheckedFolder(RealFileSystem(), config.data_dir);
  if (absl::StartsWith(config.artifact_store, "/")) return CheckedFolder(RealFileSystem(), config.artifact_store);
  const auto root = ParseS3Uri(config.artifact_store);
  RETURN_IF_ERROR(WithContext(root.status(), "artifact_store"));
  return CheckedObjects(*client, *root);
}

class Fsck {
 public:
  Fsck(const FsckOptions& options, CheckedDatabase& database, CheckedFiles& files)
      : options_(options), database_(database), files_(files) {}

  absl::StatusOr<FsckReport> Run() {
    ASSIGN_OR_RETURN(const DatabaseContents contents, CheckDatabase(database_, options_.repair, report_));
    if (!contents.readable) return std::move(report_);
    if (database_.servers_running()) report_.notes.push_back(kServersRunning);
    if (!options_.digests) report_.notes.push_back(kNoDigests);
    ASSIGN_OR_RETURN(
        const std::vector<BadFile> bad_files,
        CheckNeededFiles({files_, options_.digests, options_.threads, options_.progress}, contents.files, report_));
    for (const BadFile& bad : bad_files) RETURN_IF_ERROR(Take(bad));
    ASSIGN_OR_RETURN(const std::vector<Leftover> leftovers, Leftovers(contents));
    // Files that a job just lost may be all that is left of it: only a sound database may condemn others.
    const bool remove = options_.repair && !HasUnreadableJobs();
    for (const Leftover& leftover : leftovers) RETURN_IF_ERROR(Report(leftover, remove));
    return std::move(report_);
  }

 private:
  absl::Status Take(const BadFile& bad) {
    if (database_.servers_running()) {
      ASSIGN_OR_RETURN(const bool needed, IsStillNeeded(database_, bad.needed));
      if (!needed) return absl::OkStatus();
    }
    const char* kind = bad.needed.of_checkpoint ? "CHECKPOINT_DAMAGED" : bad.missing ? "FILE_MISSING" : "FILE_DAMAGED";
    FsckFinding& finding = report_.Add(
        kind, bad.path, absl::StrFormat("%s of job %s: %s", bad.needed.file.path(), bad.needed.job, bad.detail));
    if (!options_.repair) return absl::OkStatus();
    if (!bad.missing) RETURN_IF_ERROR(files_.Quarantine(bad.path));
    if (!bad.missing) RETURN_IF_ERROR(NoteQuarantine(database_, bad.needed));
    if (bad.needed.of_checkpoint) RETURN_IF_ERROR(ForgetCheckpoint(database_, bad.needed.job));
    finding.repaired = bad.needed.of_checkpoint;
    if (!bad.missing) absl::StrAppend(&finding.detail, "; moved to quarantine/");
    return absl::OkStatus();
  }

  bool HasUnreadableJobs() const {
    for (const FsckFinding& finding : report_.findings) {
      if (finding.kind == "JOB_UNREADABLE") return true;
    }
    return false;
  }

  // While servers are at work: published files alone, which tell their age, and that no job has come to name since.
  absl::StatusOr<std::vector<Leftover>> Leftovers(const DatabaseContents& contents) {
    ASSIGN_OR_RETURN(std::vector<Leftover> found, FindLeftovers(files_, contents));
    if (!database_.servers_running()) return found;
    std::vector<std::string> sha256s;
    for (const Leftover& leftover : found) sha256s.push_back(BaseName(leftover.file.path));
    ASSIGN_OR_RETURN(const std::vector<std::string> unneeded, UnneededNow(database_, sha256s));
    const std::set<std::string> orphans(unneeded.begin(), unneeded.end());
    std::vector<Leftover> sure;
    for (const Leftover& leftover : found) {
      const bool old = leftover.kind == "ORPHAN_FILE" && leftover.file.age > RetentionOptions().publish_grace;
      if (old && orphans.count(BaseName(leftover.file.path)) > 0) sure.push_back(leftover);
    }
    return sure;
  }

  absl::Status Report(const Leftover& leftover, bool remove) {
    FsckFinding& finding = report_.Add(leftover.kind, leftover.file.path, "no job needs it");
    if (!remove) return absl::OkStatus();
    RETURN_IF_ERROR(files_.Remove(leftover.file.path));
    finding.repaired = true;
    return absl::OkStatus();
  }

  const FsckOptions& options_;
  CheckedDatabase& database_;
  CheckedFiles& files_;
  FsckReport report_;
};

}  // namespace

absl::StatusOr<FsckReport> RunFsck(const ServerConfig& config, const FsckOptions& options) {
  ASSIGN_OR_RETURN(const std::string dsn, ReadStoreDsn(config.store_dsn, config.store_dsn_file));
  const auto database = dsn.empty() ? OpenCheckedSqlite(config.data_dir) : OpenCheckedPostgres(dsn, options.repair);
  if (dsn.empty() && ReasonOf(database.status()) == "STORE_CORRUPT") {
    FsckReport report;
    report.Add("DATABASE_DAMAGED", "quantd.db", database.status().message());
    return report;
  }
  RETURN_IF_ERROR(database.status());
  ASSIGN_OR_RETURN(const std::unique_ptr<S3Client> client, OpenObjectStore(config));
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckedFiles> files, OpenFiles(config, client.get()));
  ASSIGN_OR_RETURN(FsckReport report, Fsck(options, **database, *files).Run());
  if (!dsn.empty()) report.notes.push_back(kPostgresFiles);
  return report;
}

}  // namespace quantd
