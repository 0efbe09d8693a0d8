#include "server/fsck/database_check.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "server/fsck/job_page.h"
#include "server/store/audit_log.h"
#include "server/store/event_log.h"
#include "server/store/job_queries.h"
#include "server/store/job_rows.h"
#include "server/store/retention_queries.h"

namespace quantd {
namespace {

constexpr int kPage = 500;
constexpr int kMostNamed = 100;  // broken references of a table that are named one by one

// state, tenant, device -> jobs, bytes
using Tallies = std::map<std::tuple<int64_t, std::string, std::string>, std::pair<int64_t, int64_t>>;

// What one view of the database says.
class DatabaseCheck {
 public:
  absl::Status Run(SqlConnection& connection) {
    RETURN_IF_ERROR(CheckReferences(connection));
    RETURN_IF_ERROR(CheckJobs(connection));
    RETURN_IF_ERROR(CheckTallies(connection));
    RETURN_IF_ERROR(CheckRevisions(connection));
    contents_.readable = true;
    return absl::OkStatus();
  }

  FsckReport& report() { return report_; }
  DatabaseContents& contents() { return contents_; }
  const Tallies& tallies() const { return tallies_; }
  int64_t highest_revision() const { return highest_revision_; }

 private:
  absl::Status CheckReferences(SqlConnection& connection) {
    for (const char* table : {"events", "requests", "reports", "artifact_files"}) {
      const auto query = connection.PrepareOnce(absl::StrFormat(
          "SELECT DISTINCT job FROM %s WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.sequence = %s.job) LIMIT ?1",
          table, table));
      query->Bind(1, kMostNamed);
      while (true) {
        ASSIGN_OR_RETURN(const bool row, query->Step());
        if (!row) break;
        report_.Add("REFERENCE_BROKEN", table,
                    absl::StrFormat("a row is of job %d, which is not there", query->Int(0)));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckJobs(SqlConnection& connection) {
    for (int64_t after = INT64_MIN;;) {
      ASSIGN_OR_RETURN(const JobPage page, ReadJobPage(connection, after, kPage));
      if (page.ids.empty()) return absl::OkStatus();
      report_.jobs += static_cast<int64_t>(page.ids.size());
      for (const auto& [id, message] : page.unreadable) report_.Add("JOB_UNREADABLE", id, message);
      all_readable_ = all_readable_ && page.unreadable.empty();
      for (const auto& [sequence, record] : page.records) CheckJob(page, record);
      after = page.last();
    }
  }

  void CheckJob(const JobPage& page, const JobRecord& record) {
    auto& [jobs, bytes] = tallies_[{record.job.state(), record.tenant, DeviceOf(record.job.spec())}];
    ++jobs;
    bytes += StoredBytes(record.job);
    highest_revision_ = std::max(highest_revision_, record.job.revision());
    CheckLease(record);
    CheckEvents(page, record);
    const auto listed = page.listed_files.find(record.sequence);
    CheckFileList(record, listed == page.listed_files.end() ? JobPage::FileList() : listed->second);
  }

  void CheckLease(const JobRecord& record) {
    if (!HasLease(record.job.state())) return;
    contents_.live_attempts.insert(absl::StrCat(record.id, "/", record.fence));
    if (record.job.worker().empty() || record.fence < 1) {
      report_.Add("JOB_INCONSISTENT", record.id, "it has a lease, but no worker or fence");
    }
  }

  // The newest event says the state that the row has, and none is newer than the row.
  void CheckEvents(const JobPage& page, const JobRecord& record) {
    const auto newest = page.newest_events.find(record.sequence);
    if (newest == page.newest_events.end()) {
      if (record.compacted_revision == 0) report_.Add("JOB_INCONSISTENT", record.id, "it has no event");
      return;
    }
    const auto& [revision, state] = newest->second;
    highest_revision_ = std::max(highest_revision_, revision);
    if (revision > record.job.revision()) {
      report_.Add("JOB_INCONSISTENT", record.id,
                  absl::StrFormat("its newest event has revision %d, its row %d", revision, record.job.revision()));
    }
    if (state != record.job.state()) {
      report_.Add("JOB_INCONSISTENT", record.id,
                  absl::StrFormat("its newest event says %s, its row %s", StateName(static_cast<JobState>(state)),
                                  StateName(record.job.state())));
    }
  }

  // artifact_files is what orphans are told by: it must name exactly the files of the messages.
  void CheckFileList(const JobRecord& record, const JobPage::FileList& listed) {
    JobPage::FileList named;
    const auto need = [&](const v1::ArtifactFile& file, bool of_checkpoint) {
      contents_.files.push_back({file, record.id, of_checkpoint});
      named.emplace(file.sha256(), of_checkpoint);
    };
    const v1::Artifact& artifact = record.job.artifact();
    if (!artifact.expired()) {
      for (const v1::ArtifactFile& file : artifact.files()) need(file, false);
    }
    if (record.checkpoint.has_value()) {
      for (const v1::ArtifactFile& file : record.checkpoint->files()) need(file, true);
    }
    if (named == listed) return;
    report_.Add("JOB_INCONSISTENT", record.id,
                absl::StrFormat("its artifact and checkpoint name %d files, the list of files has %d", named.size(),
                                listed.size()));
  }

  absl::Status CheckTallies(SqlConnection& connection) {
    if (!all_readable_) return absl::OkStatus();  // they cannot be computed
    Tallies stored;
    const auto query = connection.PrepareOnce(
        "SELECT state, tenant, device, CAST(SUM(jobs) AS BIGINT), CAST(SUM(bytes) AS BIGINT) FROM tallies "
        "GROUP BY 1, 2, 3 HAVING SUM(jobs) <> 0 OR SUM(bytes) <> 0");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) break;
      stored[{query->Int(0), query->Bytes(1), query->Bytes(2)}] = {query->Int(3), query->Int(4)};
    }
    if (stored != tallies_) report_.Add("TALLIES_WRONG", "tallies", "the counts by state are not those of the jobs");
    return absl::OkStatus();
  }

  // On PostgreSQL the sequence is read as it is now, and the jobs as they were: it can only be ahead.
  absl::Status CheckRevisions(SqlConnection& connection) {
    ASSIGN_OR_RETURN(const int64_t counter, ReadLastRevision(connection));
    if (counter >= highest_revision_) return absl::OkStatus();
    report_.Add("REVISIONS_WRONG", "revisions",
                absl::StrFormat("the counter is at %d, revision %d exists", counter, highest_revision_));
    return absl::OkStatus();
  }

  FsckReport report_;
  DatabaseContents contents_;
  Tallies tallies_;
  int64_t highest_revision_ = 0;
  bool all_readable_ = true;
};

absl::Status RebuildTallies(SqlConnection& connection, const Tallies& tallies) {
  RETURN_IF_ERROR(connection.Execute("DELETE FROM tallies"));
  for (const auto& [key, value] : tallies) {
    const auto insert = connection.Prepare(
        "INSERT INTO tallies (state, tenant, device, shard, jobs, bytes) VALUES (?1, ?2, ?3, 0, ?4, ?5)");
    insert->Bind(1, std::get<0>(key)).BindText(2, std::get<1>(key)).BindText(3, std::get<2>(key));
    RETURN_IF_ERROR(insert->Bind(4, value.first).Bind(5, value.second).Run());
  }
  return absl::OkStatus();
}

absl::Status SetRevisions(SqlConnection& connection, int64_t highest) {
  const auto set = connection.dialect() == SqlDialect::kPostgres
                       ? connection.Prepare("SELECT setval('revisions', ?1)")
                       : connection.Prepare("INSERT OR REPLACE INTO counters (name, value) VALUES ('revision', ?1)");
  return set->Bind(1, highest).Run();
}

AuditNote Repaired(const std::string& what) {
  return {.actor = "fsck", .action = "repair", .detail = what};
}

absl::Status RepairCounts(CheckedDatabase& database, DatabaseCheck& check) {
  for (FsckFinding& finding : check.report().findings) {
    const bool tallies = finding.kind == "TALLIES_WRONG";
    if (!tallies && finding.kind != "REVISIONS_WRONG") continue;
    const auto body = [&](SqlConnection& connection) -> absl::Status {
      RETURN_IF_ERROR(tallies ? RebuildTallies(connection, check.tallies())
                              : SetRevisions(connection, check.highest_revision()));
      return InsertServiceAudit(connection, Repaired(finding.kind), absl::Now());
    };
    RETURN_IF_ERROR(database.Repair(body));
    finding.repaired = true;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DatabaseContents> CheckDatabase(CheckedDatabase& database, bool repair, FsckReport& report) {
  database.CheckPages(report);
  if (report.damage() > 0) return DatabaseContents();
  DatabaseCheck check;
  const auto body = [&](SqlConnection& connection) {
    check = DatabaseCheck();
    return check.Run(connection);
  };
  RETURN_IF_ERROR(database.Read(body));
  if (repair) RETURN_IF_ERROR(RepairCounts(database, check));
  report = std::move(check.report());
  return std::move(check.contents());
}

absl::StatusOr<bool> IsStillNeeded(CheckedDatabase& database, const NeededFile& needed) {
  bool found = false;
  const auto body = [&](SqlConnection& connection) -> absl::Status {
    const auto query =
        needed.of_checkpoint
            ? connection.Prepare(
                  "SELECT 1 FROM artifact_files WHERE sha256 = ?1 AND kind = 1 AND job = (SELECT sequence FROM jobs "
                  "WHERE id = ?2)")
            : connection.Prepare("SELECT 1 FROM artifact_files WHERE sha256 = ?1 AND kind = 0 LIMIT 1");
    query->BindText(1, needed.file.sha256());
    if (needed.of_checkpoint) query->BindText(2, needed.job);
    ASSIGN_OR_RETURN(found, query->Step());
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(database.Read(body));
  return found;
}

absl::StatusOr<std::vector<std::string>> UnneededNow(CheckedDatabase& database,
                                                     const std::vector<std::string>& sha256s) {
  std::vector<std::string> unneeded;
  const auto body = [&](SqlConnection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(unneeded, ReadUnreferenced(connection, sha256s));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(database.Read(body));
  return unneeded;
}

absl::Status NoteQuarantine(CheckedDatabase& database, const NeededFile& needed) {
  return database.Repair([&](SqlConnection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord record, ReadJob(connection, needed.job));
    const AuditNote note = {.actor = "fsck", .action = "quarantine", .detail = needed.file.path()};
    return InsertAudit(connection, record, note, absl::Now());
  });
}

absl::Status ForgetCheckpoint(CheckedDatabase& database, const std::string& job) {
  return database.Repair([&](SqlConnection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord record, ReadJob(connection, job));
    const auto forget = connection.Prepare("UPDATE jobs SET checkpoint = NULL WHERE id = ?1");
    RETURN_IF_ERROR(forget->BindText(1, job).Run());
    RETURN_IF_ERROR(InsertAudit(connection, record, Repaired("CHECKPOINT_DAMAGED"), absl::Now()));
    const auto drop = connection.Prepare(
        "DELETE FROM artifact_files WHERE kind = 1 AND job = (SELECT sequence FROM jobs WHERE id = ?1)");
    return drop->BindText(1, job).Run();
  });
}

}  // namespace quantd
