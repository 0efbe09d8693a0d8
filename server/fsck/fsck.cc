#include "server/fsck/fsck.h"

#include <memory>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "server/fsck/database_check.h"
#include "server/fsck/file_check.h"
#include "server/store/data_directory.h"
#include "server/store/sql_schema.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_schema.h"

namespace quantd {
namespace {

// Of the schema that this program knows; nothing is upgraded.
absl::StatusOr<std::unique_ptr<SqliteConnection>> OpenDatabase(const std::string& path) {
  ASSIGN_OR_RETURN(auto connection, SqliteConnection::Open(path, /*read_only=*/false));
  RETURN_IF_ERROR(CheckOwner(*connection, path));
  ASSIGN_OR_RETURN(const int64_t version, connection->QueryInt("PRAGMA user_version"));
  if (version != kSchemaVersion) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_OLD",
                       absl::StrFormat("%s has schema %d, this quantd checks %d; start quantd on the directory once, "
                                       "which upgrades it",
                                       path, version, kSchemaVersion));
  }
  RETURN_IF_ERROR(ConfigureWriter(*connection));
  return connection;
}

class Fsck {
 public:
  Fsck(const FsckOptions& options, SqliteConnection& connection)
      : repair_(options.repair),
        connection_(connection),
        file_options_{options.data_directory, RealFileSystem(), options.threads, options.progress} {}

  absl::StatusOr<FsckReport> Run() {
    ASSIGN_OR_RETURN(const DatabaseContents contents, CheckDatabase(connection_, repair_, report_));
    if (!contents.readable) return std::move(report_);
    for (const BadFile& bad : CheckNeededFiles(file_options_, contents.files, report_)) RETURN_IF_ERROR(Take(bad));
    // Files that a job just lost may be all that is left of it: only a sound database may condemn others.
    if (report_.damage() > 0 && !repair_) return ReportLeftovers(contents, /*remove=*/false);
    return ReportLeftovers(contents, repair_ && !HasUnreadableJobs());
  }

 private:
  absl::Status Take(const BadFile& bad) {
    const char* kind = bad.needed.of_checkpoint ? "CHECKPOINT_DAMAGED" : bad.missing ? "FILE_MISSING" : "FILE_DAMAGED";
    FsckFinding& finding = report_.Add(
        kind, bad.path, absl::StrFormat("%s of job %s: %s", bad.needed.file.path(), bad.needed.job, bad.detail));
    if (!repair_) return absl::OkStatus();
    if (!bad.missing) RETURN_IF_ERROR(Quarantine(bad.path));
    if (bad.needed.of_checkpoint) RETURN_IF_ERROR(ForgetCheckpoint(connection_, bad.needed.job));
    finding.repaired = bad.needed.of_checkpoint;
    if (!bad.missing) absl::StrAppend(&finding.detail, "; moved to quarantine/");
    return absl::OkStatus();
  }

  absl::Status Quarantine(const std::string& path) {
    FileSystem& files = file_options_.files;
    const std::string folder = JoinPath(file_options_.data_directory, "quarantine");
    RETURN_IF_ERROR(files.CreateDirectories(folder));
    const std::string name = absl::StrReplaceAll(path, {{"/", "_"}});
    // No durable step: whoever repairs looks at the result, and repeats it.
    return files.Rename(JoinPath(file_options_.data_directory, path), JoinPath(folder, name));
  }

  bool HasUnreadableJobs() const {
    for (const FsckFinding& finding : report_.findings) {
      if (finding.kind == "JOB_UNREADABLE") return true;
    }
    return false;
  }

  absl::StatusOr<FsckReport> ReportLeftovers(const DatabaseContents& contents, bool remove) {
    ASSIGN_OR_RETURN(const std::vector<Leftover> leftovers, FindLeftovers(file_options_, contents));
    for (const Leftover& leftover : leftovers) {
      FsckFinding& finding = report_.Add(leftover.kind, leftover.path, "no job needs it");
      if (!remove) continue;
      RETURN_IF_ERROR(file_options_.files.RemoveAll(JoinPath(file_options_.data_directory, leftover.path)));
      finding.repaired = true;
    }
    return std::move(report_);
  }

  const bool repair_;
  SqliteConnection& connection_;
  const FileCheckOptions file_options_;
  FsckReport report_;
};

}  // namespace

absl::StatusOr<FsckReport> RunFsck(const FsckOptions& options) {
  const std::string path = JoinPath(options.data_directory, "quantd.db");
  if (!RealFileSystem().Exists(path)) {
    return ReasonError(absl::StatusCode::kNotFound, "DATABASE_MISSING",
                       absl::StrFormat("%s is not there; name the directory of a quantd with --data-dir", path));
  }
  ASSIGN_OR_RETURN(const DataDirectory lock, DataDirectory::Open(options.data_directory));
  const auto connection = OpenDatabase(path);
  if (ReasonOf(connection.status()) == "STORE_CORRUPT") {
    FsckReport report;
    report.Add("DATABASE_DAMAGED", "quantd.db", connection.status().message());
    return report;
  }
  RETURN_IF_ERROR(connection.status());
  return Fsck(options, **connection).Run();
}

}  // namespace quantd
