// Jobs in the order of their sequence, some at a time, with what the other tables have of them.
#ifndef QUANTD_SERVER_FSCK_JOB_PAGE_H_
#define QUANTD_SERVER_FSCK_JOB_PAGE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/job_record.h"
#include "server/store/sql_database.h"

namespace quantd {

struct JobPage {
  struct NewestEvent {
    int64_t revision = 0;
    int64_t state = 0;
  };
  using FileList = std::set<std::pair<std::string, bool>>;  // digest, of the checkpoint

  std::vector<std::pair<int64_t, std::string>> ids;  // sequence and id of every row
  std::map<int64_t, JobRecord> records;              // by sequence; those that can be read
  std::map<std::string, std::string> unreadable;     // id -> why
  std::map<int64_t, NewestEvent> newest_events;
  std::map<int64_t, FileList> listed_files;

  int64_t first() const { return ids.front().first; }
  int64_t last() const { return ids.back().first; }
};

// At most `limit` jobs behind the sequence `after`; no ids: there are no more.
absl::StatusOr<JobPage> ReadJobPage(SqlConnection& connection, int64_t after, int limit);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_JOB_PAGE_H_
