#include "server/fsck/database_check.h"

#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

// state, tenant, device -> jobs, bytes
using Tallies = std::map<std::tuple<int64_t, std::string, std::string>, std::pair<int64_t, int64_t>>;

class DatabaseCheck {
 public:
  DatabaseCheck(SqliteConnection& connection, bool repair, FsckReport& report)
      : connection_(connection), repair_(repair), report_(report) {}

  absl::StatusOr<DatabaseContents> Run() {
    const absl::Status whole = CheckPages();
    if (!whole.ok()) report_.Add("DATABASE_DAMAGED", "quantd.db", whole.message());
    if (report_.damage() > 0) return std::move(contents_);
    RETURN_IF_ERROR(CheckReferences());
    RETURN_IF_ERROR(CheckJobs());
    RETURN_IF_ERROR(CheckTallies());
    RETURN_IF_ERROR(CheckRevisions());
    contents_.readable = true;
    return std::move(contents_);
  }

 private:
  // An error is damage as well: SQLite may fail on a damaged file before it can say where.
  absl::Status CheckPages() {
    const auto query = connection_.PrepareOnce("PRAGMA integrity_check");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) return absl::OkStatus();
      if (query->Bytes(0) != "ok") report_.Add("DATABASE_DAMAGED", "quantd.db", query->Bytes(0));
    }
  }

  absl::Status CheckReferences() {
    const auto query = connection_.PrepareOnce("PRAGMA foreign_key_check");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) return absl::OkStatus();
      report_.Add("REFERENCE_BROKEN", query->Bytes(0), absl::StrCat("row ", query->Bytes(1), " has no job"));
    }
  }

  absl::Status CheckJobs() {
    const auto query = connection_.PrepareOnce("SELECT sequence, id FROM jobs ORDER BY sequence");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) return absl::OkStatus();
      ++report_.jobs;
      RETURN_IF_ERROR(CheckJob(query->Int(0), query->Bytes(1)));
    }
  }

  absl::Status CheckJob(int64_t sequence, const std::string& id) {
    const auto select = connection_.Prepare(SelectJobs("WHERE sequence = ?1"));
    const auto record = ReadOneJob(select->Bind(1, sequence));
    if (!record.ok() || !record->has_value()) {
      all_readable_ = false;
      report_.Add("JOB_UNREADABLE", id, record.ok() ? "its row has gone" : record.status().message());
      return absl::OkStatus();
    }
    Collect(**record);
    auto& [jobs, bytes] = tallies_[{(*record)->job.state(), (*record)->tenant, DeviceOf((*record)->job.spec())}];
    ++jobs;
    bytes += StoredBytes((*record)->job);
    RETURN_IF_ERROR(CheckEvents(**record));
    return CheckFileList(**record);
  }

  void Collect(const JobRecord& record) {
    const v1::Artifact& artifact = record.job.artifact();
    if (!artifact.expired()) {
      for (const v1::ArtifactFile& file : artifact.files()) contents_.files.push_back({file, record.id, false});
    }
    if (record.checkpoint.has_value()) {
      for (const v1::ArtifactFile& file : record.checkpoint->files())
        contents_.files.push_back({file, record.id, true});
    }
    if (HasLease(record.job.state())) contents_.live_attempts.insert(absl::StrCat(record.id, "/", record.fence));
    if (HasLease(record.job.state()) && (record.job.worker().empty() || record.fence < 1)) {
      report_.Add("JOB_INCONSISTENT", record.id, "it has a lease, but no worker or fence");
    }
  }

  // The newest event says the state that the row has, and none is newer than the row.
  absl::Status CheckEvents(const JobRecord& record) {
    const auto newest =
        connection_.Prepare("SELECT revision, state FROM events WHERE job = ?1 ORDER BY revision DESC LIMIT 1");
    ASSIGN_OR_RETURN(const bool row, newest->Bind(1, record.sequence).Step());
    if (!row) {
      if (record.compacted_revision == 0) report_.Add("JOB_INCONSISTENT", record.id, "it has no event");
      return absl::OkStatus();
    }
    if (newest->Int(0) > record.job.revision()) {
      report_.Add(
          "JOB_INCONSISTENT", record.id,
          absl::StrFormat("its newest event has revision %d, its row %d", newest->Int(0), record.job.revision()));
    }
    if (newest->Int(1) != record.job.state()) {
      report_.Add("JOB_INCONSISTENT", record.id,
                  absl::StrFormat("its newest event says %s, its row %s",
                                  StateName(static_cast<JobState>(newest->Int(1))), StateName(record.job.state())));
    }
    return absl::OkStatus();
  }

  // artifact_files is what orphans are told by: it must name exactly the files of the messages.
  absl::Status CheckFileList(const JobRecord& record) {
    std::set<std::pair<std::string, bool>> named, listed;
    for (auto file = contents_.files.rbegin(); file != contents_.files.rend() && file->job == record.id; ++file) {
      named.emplace(file->file.sha256(), file->of_checkpoint);
    }
    const auto query = connection_.Prepare("SELECT sha256, kind FROM artifact_files WHERE job = ?1");
    query->Bind(1, record.sequence);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) break;
      listed.emplace(query->Bytes(0), query->Int(1) == 1);
    }
    if (named != listed) {
      report_.Add("JOB_INCONSISTENT", record.id,
                  absl::StrFormat("its artifact and checkpoint name %d files, the list of files has %d", named.size(),
                                  listed.size()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckTallies() {
    if (!all_readable_) return absl::OkStatus();  // they cannot be computed
    Tallies stored;
    const auto query = connection_.PrepareOnce(
        "SELECT state, tenant, device, SUM(jobs), SUM(bytes) FROM tallies GROUP BY 1, 2, 3 "
        "HAVING SUM(jobs) <> 0 OR SUM(bytes) <> 0");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) break;
      stored[{query->Int(0), query->Bytes(1), query->Bytes(2)}] = {query->Int(3), query->Int(4)};
    }
    if (stored == tallies_) return absl::OkStatus();
    FsckFinding& finding = report_.Add("TALLIES_WRONG", "tallies", "the counts by state are not those of the jobs");
    if (!repair_) return absl::OkStatus();
    RETURN_IF_ERROR(RebuildTallies());
    finding.repaired = true;
    return absl::OkStatus();
  }

  absl::Status RebuildTallies() {
    RETURN_IF_ERROR(connection_.Execute("BEGIN IMMEDIATE; DELETE FROM tallies"));
    for (const auto& [key, value] : tallies_) {
      const auto insert = connection_.Prepare(
          "INSERT INTO tallies (state, tenant, device, shard, jobs, bytes) VALUES (?1, ?2, ?3, 0, ?4, ?5)");
      insert->Bind(1, std::get<0>(key)).BindText(2, std::get<1>(key)).BindText(3, std::get<2>(key));
      RETURN_IF_ERROR(insert->Bind(4, value.first).Bind(5, value.second).Run());
    }
    // No durable step: whoever repairs looks at the result, and repeats it.
    return connection_.Execute("COMMIT");
  }

  absl::Status CheckRevisions() {
    ASSIGN_OR_RETURN(const int64_t counter,
                     connection_.QueryInt("SELECT COALESCE(MAX(value), -1) FROM counters WHERE name = 'revision'"));
    ASSIGN_OR_RETURN(const int64_t given,
                     connection_.QueryInt("SELECT MAX(COALESCE((SELECT MAX(revision) FROM jobs), 0), "
                                          "COALESCE((SELECT MAX(revision) FROM events), 0))"));
    if (counter >= given) return absl::OkStatus();
    FsckFinding& finding = report_.Add("REVISIONS_WRONG", "counters",
                                       absl::StrFormat("the counter is at %d, revision %d exists", counter, given));
    if (!repair_) return absl::OkStatus();
    RETURN_IF_ERROR(connection_.Prepare("INSERT OR REPLACE INTO counters (name, value) VALUES ('revision', ?1)")
                        ->Bind(1, given)
                        .Run());
    finding.repaired = true;
    return absl::OkStatus();
  }

  SqliteConnection& connection_;
  const bool repair_;
  FsckReport& report_;
  DatabaseContents contents_;
  Tallies tallies_;
  bool all_readable_ = true;
};

}  // namespace

absl::StatusOr<DatabaseContents> CheckDatabase(SqliteConnection& connection, bool repair, FsckReport& report) {
  return DatabaseCheck(connection, repair, report).Run();
}

absl::Status ForgetCheckpoint(SqliteConnection& connection, const std::string& job) {
  RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(connection.Prepare("UPDATE jobs SET checkpoint = NULL WHERE id = ?1")->BindText(1, job).Run());
  RETURN_IF_ERROR(
      connection
          .Prepare("DELETE FROM artifact_files WHERE kind = 1 AND job = (SELECT sequence FROM jobs WHERE id = ?1)")
          ->BindText(1, job)
          .Run());
  // No durable step: whoever repairs looks at the result, and repeats it.
  return connection.Execute("COMMIT");
}

}  // namespace quantd
