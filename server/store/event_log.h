// Revisions and events: what a watcher that comes back must be able to see again.
#ifndef QUANTD_SERVER_STORE_EVENT_LOG_H_
#define QUANTD_SERVER_STORE_EVENT_LOG_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/job_record.h"
#include "server/store/sql_database.h"

namespace quantd {

// Growing over all jobs. On PostgreSQL a later revision may be committed first; those of one job are in order.
absl::StatusOr<int64_t> NextRevision(SqlConnection& connection);
absl::StatusOr<int64_t> ReadLastRevision(SqlConnection& connection);

absl::Status InsertEvent(SqlConnection& connection, const JobRecord& record, absl::Time now);

// See JobStore::ChangesAfter, DropOldEvents.
absl::StatusOr<std::vector<v1::QuantJob>> ReadChangesAfter(SqlConnection& connection, absl::string_view id,
                                                           int64_t revision);
absl::StatusOr<int64_t> DeleteOldEvents(SqlConnection& connection, absl::Time before, int limit);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_EVENT_LOG_H_
