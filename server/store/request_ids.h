// Request ids: which job an earlier Submit made.
#ifndef QUANTD_SERVER_STORE_REQUEST_IDS_H_
#define QUANTD_SERVER_STORE_REQUEST_IDS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// See JobStore::FindRequest.
absl::StatusOr<std::optional<JobRecord>> MatchRequest(SqlConnection& connection, absl::string_view tenant,
                                                      absl::string_view request_id, const v1::QuantJobSpec& spec);

absl::Status InsertRequest(SqlConnection& connection, const NewJob& job, int64_t sequence);

// Drops the oldest ones that are older than `before`.
absl::StatusOr<int64_t> DeleteOldRequests(SqlConnection& connection, absl::Time before, int limit);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_REQUEST_IDS_H_
