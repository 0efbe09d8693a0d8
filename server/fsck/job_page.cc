#include "server/fsck/job_page.h"

#include "core/base/status.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

bool IsUnreadable(const absl::Status& status) {
  return ReasonOf(status) == "STORE_CORRUPT";
}

absl::Status ReadIds(SqlConnection& connection, int64_t after, int limit, JobPage& page) {
  const auto query = connection.Prepare("SELECT sequence, id FROM jobs WHERE sequence > ?1 ORDER BY sequence LIMIT ?2");
  query->Bind(1, after).Bind(2, limit);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return absl::OkStatus();
    page.ids.emplace_back(query->Int(0), query->Bytes(1));
  }
}

absl::Status ReadOneByOne(SqlConnection& connection, JobPage& page) {
  for (const auto& [sequence, id] : page.ids) {
    const auto select = connection.Prepare(SelectJobs("WHERE sequence = ?1"));
    auto record = ReadOneJob(select->Bind(1, sequence));
    if (!record.ok() && !IsUnreadable(record.status())) return record.status();
    if (!record.ok()) {
      page.unreadable[id] = std::string(record.status().message());
    } else if (record->has_value()) {
      page.records.emplace(sequence, **std::move(record));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadRecords(SqlConnection& connection, JobPage& page) {
  {
    const auto select = connection.Prepare(SelectJobs("WHERE sequence >= ?1 AND sequence <= ?2"));
    select->Bind(1, page.first()).Bind(2, page.last());
    auto all = ReadAllJobs(*select);
    if (!all.ok() && !IsUnreadable(all.status())) return all.status();
    if (all.ok()) {
      for (JobRecord& record : *all) page.records.emplace(record.sequence, std::move(record));
      return absl::OkStatus();
    }
  }
  return ReadOneByOne(connection, page);
}

absl::Status ReadNewestEvents(SqlConnection& connection, JobPage& page) {
  const auto query = connection.Prepare(
      "SELECT job, revision, state FROM events WHERE job >= ?1 AND job <= ?2 ORDER BY job, revision");
  query->Bind(1, page.first()).Bind(2, page.last());
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return absl::OkStatus();
    page.newest_events[query->Int(0)] = {query->Int(1), query->Int(2)};
  }
}

absl::Status ReadFileLists(SqlConnection& connection, JobPage& page) {
  const auto query = connection.Prepare("SELECT job, sha256, kind FROM artifact_files WHERE job >= ?1 AND job <= ?2");
  query->Bind(1, page.first()).Bind(2, page.last());
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return absl::OkStatus();
    page.listed_files[query->Int(0)].emplace(query->Bytes(1), query->Int(2) == 1);
  }
}

}  // namespace

absl::StatusOr<JobPage> ReadJobPage(SqlConnection& connection, int64_t after, int limit) {
  JobPage page;
  RETURN_IF_ERROR(ReadIds(connection, after, limit, page));
  if (page.ids.empty()) return page;
  RETURN_IF_ERROR(ReadRecords(connection, page));
  RETURN_IF_ERROR(ReadNewestEvents(connection, page));
  RETURN_IF_ERROR(ReadFileLists(connection, page));
  return page;
}

}  // namespace quantd
